#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/network.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime {

/// What the host and pepita-init say to each other, without a word of protobuf (runtime/api/ has
/// guest.proto). Ports of the guest's vsock, and of the host's:
inline constexpr std::uint32_t kGuestApiPort = 1024;     // ttrpc, served by pepita-init
inline constexpr std::uint32_t kGuestStreamPort = 1025;  // standard streams of processes
/// pepita-init connects to this port of the host (CID 2) once it serves both of the above, writes
/// "ready\n" and closes. Nobody polls.
inline constexpr std::uint32_t kHostReadyPort = 1024;

/// Who is meant: a container's own process, or one that was exec'ed into it.
struct ProcessId {
    std::string container;
    std::string exec;  // empty: the container's own

    friend auto operator<=>(const ProcessId&, const ProcessId&) = default;
};

/// One-use numbers: connect to kGuestStreamPort, send the number as 8 bytes little-endian, and the
/// connection is the stream. 0: none. A terminal has one, both ways, in `in`.
/// When the process is over its output streams end after the last byte it wrote.
struct StreamNumbers {
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    std::uint64_t err = 0;

    friend bool operator==(const StreamNumbers&, const StreamNumbers&) = default;
};

struct Started {
    std::uint32_t pid = 0;
    std::uint32_t exec_errno = 0;  // not 0: execve(2) failed so and the process is over
};

struct GuestDescription {
    std::string version;
    std::string kernel_release;
};

/// The host's end. Every method answers once, on the channel's thread. Errors: the guest's, as
/// Channel::Reply. The guest is hostile: every answer is checked for form before it is believed.
class GuestClient {
public:
    explicit GuestClient(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}

    void describe(std::chrono::milliseconds deadline, OnResult<GuestDescription> done);
    void create(const ContainerSpec& spec, OnResult<StreamNumbers> done);
    void start(const ProcessId& process, OnResult<Started> done);
    /// AlreadyExists where the exec id is taken; FailedPrecondition where the container is not
    /// running.
    void exec(const ProcessId& id, const ProcessSpec& spec, OnResult<StreamNumbers> done);
    /// NotFound once the process is over.
    void signal(const ProcessId& process, std::uint32_t signal, bool all, OnResult<void> done);
    /// Answers when the process is over, at once if it is: the status as the shell counts.
    void wait(const ProcessId& process, OnResult<std::uint32_t> done);
    void resize(const ProcessId& process, WindowSize size, OnResult<void> done);
    void close_stdin(const ProcessId& process, OnResult<void> done);
    /// Forgets a process that is over. The container's own takes the container with it: mounts,
    /// cgroup and writable layer. FailedPrecondition while it runs (one never started is ended).
    void remove(const ProcessId& process, OnResult<void> done);
    /// Kills all, syncs, powers off. The answer comes first.
    void shutdown(std::chrono::milliseconds deadline, OnResult<void> done);
    /// Finds PCI functions that were attached since. Answers when their drivers have probed.
    void rescan(OnResult<void> done);
    /// Answers when the driver has let go of a PCI function, which may then be detached; one that
    /// `pci_address` names may be no disk. FailedPrecondition while the disk is mounted.
    void release(const DiskId& disk, OnResult<void> done);
    /// "": of all containers together, also those that were removed. Unsupported where the
    /// container has no cgroup.
    void stats(const std::string& container, OnResult<ContainerStats> done);
    /// Answers when every process of the container stands still. A signal that is not SIGKILL waits
    /// for the container's resumption, and so does what is being exec'ed. Unsupported without a
    /// cgroup.
    void pause(const std::string& container, OnResult<void> done);
    void resume(const std::string& container, OnResult<void> done);
    /// "": of all containers together; as many CPUs are online as cpu_quota_us needs, and of the
    /// other limits it has memory_limit_bytes. Else sets the limits that `resources` has;
    /// Unsupported where a limit's controller is missing.
    void update(const std::string& container, const ResourcesSpec& resources, OnResult<void> done);
    /// Interfaces that the guest has not got yet must have been attached, and found by a rescan.
    void configure_network(const NetworkConfig& config, OnResult<void> done);
    /// Steps the guest's clock of real time by `offset` (0: reads it). Gives the guest's time after
    /// that, since 1970.
    void adjust_clock(std::chrono::nanoseconds offset, OnResult<std::chrono::nanoseconds> done);
    /// Connects to `port` of the guest's loopback, 127.0.0.1 or else ::1; gives the number of a
    /// stream (as StreamNumbers) that is the connection, both ways. Unavailable where nobody
    /// listens.
    void dial(std::uint16_t port, OnResult<std::uint64_t> done);
    /// Who the container's own process is when it begins. FailedPrecondition until it is created.
    void user(const std::string& container, OnResult<UserIds> done);

private:
    std::shared_ptr<Channel> channel_;
};

/// The guest's end, implemented by pepita-init. `done` may be called later.
class GuestService {
public:
    GuestService() = default;
    GuestService(const GuestService&) = delete;
    GuestService& operator=(const GuestService&) = delete;
    GuestService(GuestService&&) = delete;
    GuestService& operator=(GuestService&&) = delete;
    virtual ~GuestService() = default;
    virtual void describe(OnResult<GuestDescription> done) = 0;
    virtual void create(ContainerSpec spec, OnResult<StreamNumbers> done) = 0;
    virtual void start(ProcessId process, OnResult<Started> done) = 0;
    virtual void exec(ProcessId id, ProcessSpec spec, OnResult<StreamNumbers> done) = 0;
    virtual void signal(ProcessId process, std::uint32_t signal, bool all, OnResult<void> done) = 0;
    virtual void wait(ProcessId process, OnResult<std::uint32_t> done) = 0;
    virtual void resize(ProcessId process, WindowSize size, OnResult<void> done) = 0;
    virtual void close_stdin(ProcessId process, OnResult<void> done) = 0;
    virtual void remove(ProcessId process, OnResult<void> done) = 0;
    virtual void shutdown(OnResult<void> done) = 0;
    virtual void rescan(OnResult<void> done) = 0;
    virtual void release(DiskId disk, OnResult<void> done) = 0;
    virtual void stats(std::string container, OnResult<ContainerStats> done) = 0;
    virtual void pause(std::string container, OnResult<void> done) = 0;
    virtual void resume(std::string container, OnResult<void> done) = 0;
    virtual void update(std::string container, ResourcesSpec resources, OnResult<void> done) = 0;
    virtual void configure_network(NetworkConfig config, OnResult<void> done) = 0;
    virtual void adjust_clock(std::chrono::nanoseconds offset,
                              OnResult<std::chrono::nanoseconds> done) = 0;
    virtual void dial(std::uint16_t port, OnResult<std::uint64_t> done) = 0;
    virtual void user(std::string container, OnResult<UserIds> done) = 0;
};

/// `base`, with what `changes` has in place of its own.
ResourcesSpec merged(const ResourcesSpec& base, const ResourcesSpec& changes);

/// Turns a call into one of `service`'s. A method it does not know is Unsupported; a payload that
/// does not parse is InvalidArgument.
void dispatch(GuestService& service, Channel::Call call);

}  // namespace pepita::runtime
