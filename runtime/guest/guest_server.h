#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "runtime/guest/errand.h"
#include "runtime/guest/port_dialer.h"
#include "runtime/guest/process_streams.h"
#include "runtime/guest/stream_server.h"
#include "runtime/guest_api.h"
#include "runtime/network.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime::guest {

/// The containers of this guest and their processes. The caller reaps and tells of each exit.
/// Thread: that of the loop; the process has no other, because the container engine forks.
class GuestServer : public GuestService {
public:
    static constexpr std::size_t kContainersMax = 64;
    static constexpr std::size_t kProcessesMax = 256;
    static_assert(3 * kProcessesMax <= StreamServer::kNamelessMax);
    static constexpr std::size_t kWaitersMax = 64;  // of one process

    struct Options {
        std::string version;
        std::string staging_directory;  // exists; containers mount their roots over it
        std::string shared_directory;   // is made; what containers share by "pod:NAME"
        std::string cgroup_directory;   // "": containers have no cgroup
        container::Trees trees = container::Trees::VirtioFs;
        // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
        std::string shared_mounts = {};  // as of container::Container::Options
        /// A process in the namespaces that containers share by "pod:"; null: they have none, and
        /// namespaces are joined by ids of containers alone.
        std::function<Result<FdRef>()> pod_namespaces = {};
        // NOLINTEND(readability-redundant-member-init)
        std::function<Result<std::string>(const DiskId& disk)> find_disk;
        std::function<Result<void>()> rescan;                     // called in a child process
        std::function<Result<void>(const DiskId& disk)> release;  // the same
        std::function<Result<void>(const NetworkConfig& config)> configure_network;
        std::function<Result<void>(const ResourcesSpec& limits)> limit_pod;  // in a child process
        std::function<Result<std::chrono::nanoseconds>(std::chrono::nanoseconds offset)>
            adjust_clock;
        std::function<void()> power_off;
    };
    GuestServer(EventLoop& loop, StreamServer& streams, Options options)
        : loop_(loop),
          streams_(streams),
          options_(std::move(options)),
          errands_(loop),
          dialer_(loop, streams) {}

    void describe(OnResult<GuestDescription> done) override;
    void create(ContainerSpec spec, OnResult<StreamNumbers> done) override;
    void start(ProcessId process, OnResult<Started> done) override;
    void exec(ProcessId id, ProcessSpec spec, OnResult<StreamNumbers> done) override;
    void signal(ProcessId process, std::uint32_t signal, bool all, OnResult<void> done) override;
    void wait(ProcessId process, OnResult<std::uint32_t> done) override;
    void resize(ProcessId process, WindowSize size, OnResult<void> done) override;
    void close_stdin(ProcessId process, OnResult<void> done) override;
    void remove(ProcessId process, OnResult<void> done) override;
    void shutdown(OnResult<void> done) override;
    void rescan(OnResult<void> done) override;
    void release(DiskId disk, OnResult<void> done) override;
    void stats(std::string container, OnResult<ContainerStats> done) override;
    void pause(std::string container, OnResult<void> done) override;
    void resume(std::string container, OnResult<void> done) override;
    void update(std::string container, ResourcesSpec resources, OnResult<void> done) override;
    void configure_network(NetworkConfig config, OnResult<void> done) override;
    void adjust_clock(std::chrono::nanoseconds offset,
                      OnResult<std::chrono::nanoseconds> done) override;
    void dial(std::uint16_t port, OnResult<std::uint64_t> done) override;
    void user(std::string container, OnResult<UserIds> done) override;

    /// A child was reaped: one of ours, or an orphan that only had to be.
    void on_exit(pid_t pid, const ChildExit& exit);

private:
    struct Process {
        OnResult<StreamNumbers> on_made;  // until it is set up
        bool is_started = false;
        std::optional<std::uint32_t> status;  // once it has exited
        std::unique_ptr<ProcessStreams> streams;
        std::unique_ptr<container::Process> execed;  // none for a container's own
        std::vector<OnResult<std::uint32_t>> waiters;
    };

    Result<void> begin_create(ContainerSpec& spec);
    /// What a new container joins; `opened` holds what it needs open.
    Result<std::map<std::string, FdRef>> find_joined(const NamespacesSpec& namespaces,
                                                     std::vector<Fd>& opened);
    Result<void> begin_exec(const ProcessId& id, const ProcessSpec& spec);
    Result<container::Process*> begin_start(const ProcessId& id);
    void on_made(const ProcessId& id, Result<void> made);
    Result<StreamNumbers> finish_making(const ProcessId& id);
    void undo(const ProcessId& id, Error reason);
    Result<void> signal_now(const ProcessId& id, std::uint32_t signal, bool all);
    void remove_container(const std::string& id, OnResult<void> done);
    Result<std::unique_ptr<ProcessStreams>> make_streams(const ProcessSpec& spec,
                                                         container::Stdio& stdio);
    Result<void> check_room() const;
    void forget(const ProcessId& id);
    Result<container::Container*> find_container(const std::string& id);
    Result<Process*> find(const ProcessId& id);
    void set_frozen(const std::string& container, bool frozen, OnResult<void> done);
    container::Process& process_of(const ProcessId& id, const Process& entry);

    EventLoop& loop_;
    StreamServer& streams_;
    Options options_;
    Errands errands_;
    PortDialer dialer_;
    std::map<std::string, std::unique_ptr<container::Container>> containers_;
    std::map<ProcessId, Process> processes_;
};

}  // namespace pepita::runtime::guest
