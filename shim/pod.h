#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/guest_api.h"
#include "runtime/pod_api.h"
#include "runtime/pod_cgroup.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/on_result.h"
#include "runtime/sandbox_api.h"
#include "runtime/state.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/clock.h"
#include "shim/container.h"
#include "shim/guest_clock.h"
#include "shim/isolation.h"
#include "shim/jail.h"
#include "shim/microvm.h"
#include "shim/pod_directory.h"
#include "shim/pod_size.h"
#include "shim/port_forwards.h"
#include "shim/root_mounts.h"

namespace pepita::shim {

/// One pod: a microVM, its place on the host, and the containers in it, in any number and order.
/// It begins with begin(), or with the first create() that describes a pod; it ends when it is shut
/// down, or as PodSpec::end says. The states and who changes them: README.md. Thread: that of
/// `loop`.
class Pod : public runtime::TaskService,
            public runtime::SandboxService,
            public runtime::PodService {
public:
    using StartMicrovm = std::move_only_function<Result<std::unique_ptr<Microvm>>(
        EventLoop&, const MicrovmConfig&, Microvm::Callbacks)>;
    /// Completes a request of a client that knows nothing of pods and stand-ins.
    using OnCreate = std::move_only_function<Result<void>(runtime::TaskCreate&, runtime::Bundle&)>;
    struct Callbacks {
        std::move_only_function<void(const runtime::PodSpec&)> on_begin;  // it is valid
        std::move_only_function<void(Fd)> on_client;  // one more, on <root>/<id>/shim.sock
        std::move_only_function<void()> on_over;      // is_over() or is_useless() became true
        std::move_only_function<void(const runtime::TaskEvent&)> on_event;
        OnCreate on_create = nullptr;  // optional
        /// The machine, or the agent, runs; the pod ends where this fails. Optional.
        std::move_only_function<Result<void>(Isolation)> on_boot = nullptr;
    };
    Pod(EventLoop& loop, Clock& clock, StartMicrovm start_microvm, Callbacks callbacks);
    Pod(const Pod&) = delete;
    Pod& operator=(const Pod&) = delete;
    Pod(Pod&&) = delete;
    Pod& operator=(Pod&&) = delete;
    ~Pod() override;

    /// Whether nothing is left that must outlive the clients.
    bool is_over() const { return phase_ == Phase::Empty || phase_ == Phase::Ended; }

    /// Whether there is nothing to stay for even while clients are connected: shutdown was
    /// requested, or what the pod was to begin with could not be made.
    bool is_useless() const { return is_over() && is_ending_; }

    /// A pod without a container. Answers when its guest is up.
    void begin(runtime::PodSpec spec, runtime::OnResult<void> done);

    void create(runtime::TaskCreate request, runtime::OnResult<std::uint32_t> done) override;
    void start(runtime::ProcessId process, runtime::OnResult<runtime::TaskStarted> done) override;
    void exec(runtime::TaskExec request, runtime::OnResult<void> done) override;
    void state(runtime::ProcessId process, runtime::OnResult<runtime::TaskState> done) override;
    /// SIGKILL to a container that is being created ends its creation, and answers when nothing of
    /// it is left.
    void kill(runtime::ProcessId process, std::uint32_t signal, bool all,
              runtime::OnResult<void> done) override;
    void wait(runtime::ProcessId process, runtime::OnResult<runtime::TaskExit> done) override;
    void resize(runtime::ProcessId process, runtime::WindowSize size,
                runtime::OnResult<void> done) override;
    void close_stdin(runtime::ProcessId process, runtime::OnResult<void> done) override;
    void remove(runtime::ProcessId process, runtime::OnResult<runtime::TaskExit> done) override;
    void pids(std::string container,
              runtime::OnResult<std::vector<runtime::TaskProcess>> done) override;
    void pause(std::string container, runtime::OnResult<void> done) override;
    void resume(std::string container, runtime::OnResult<void> done) override;
    /// "": the pod's own limits.
    void update(std::string container, runtime::ResourcesSpec resources,
                runtime::OnResult<void> done) override;
    void stats(std::string container, runtime::OnResult<runtime::ContainerStats> done) override;
    void connect(std::string container, runtime::OnResult<runtime::TaskConnection> done) override;
    void shutdown(bool now, runtime::OnResult<bool> done) override;

    void create_sandbox(runtime::PodSpec spec, runtime::OnResult<void> done) override;
    void start_sandbox(runtime::OnResult<runtime::SandboxStarted> done) override;
    void stop_sandbox(std::chrono::seconds patience, runtime::OnResult<void> done) override;
    void wait_sandbox(runtime::OnResult<runtime::TaskExit> done) override;
    void sandbox_status(runtime::OnResult<runtime::SandboxStatus> done) override;
    void shutdown_sandbox(runtime::OnResult<void> done) override;
    void sandbox_stats(runtime::OnResult<runtime::ContainerStats> done) override;
    const std::string& sandbox_id() const override { return spec_.name; }

    void reopen_log(std::string container, runtime::OnResult<void> done) override;
    void attach(runtime::AttachRequest request, runtime::OnResult<void> done) override;
    void connect_port(std::uint16_t port, Fd socket, runtime::OnResult<void> done) override;
    void user(std::string container, runtime::OnResult<runtime::UserIds> done) override;

private:
    /// Live: the guest answers. Stopping: it was asked to power off, for its containers' end is the
    /// pod's. Down: the microVM has ended, and its containers are stopped but not deleted.
    enum class Phase : std::uint8_t { Empty, Booting, Live, Stopping, Down, Ending, Ended };

    /// A container, its place on the host, and the clients that wait for its beginning or end.
    struct Entry {
        std::shared_ptr<Container> container;
        std::unique_ptr<PodDirectory> own_directory;  // nullptr: it has the pod's
        std::unique_ptr<Listener> listener;           // of own_directory
        std::vector<std::string> cgroups;             // of the host, that its stand-in is in
        std::unique_ptr<RootMounts> mounts;           // on its bundle's root
        std::optional<RootSource> root;               // none: it stands for the pod
        std::optional<RootDisks> disks;               // that add_root() attached
        runtime::OnResult<std::uint32_t> on_created;
        std::optional<Error> failure;  // its creation is being undone
        std::vector<runtime::OnResult<void>> on_undone;
        runtime::OnResult<runtime::TaskExit> on_removed;
    };

    /// It has no microVM.
    bool is_on_host() const { return isolation_.isolation == Isolation::Process; }
    Result<void> begin_pod(runtime::PodSpec spec);
    Result<void> enter_cgroup();
    Result<void> make_directory(std::optional<runtime::ContainerState> state);
    Result<void> boot(std::optional<RootSource> root);
    Result<std::unique_ptr<Listener>> listen(PodDirectory& directory);
    void on_boot();
    void on_up();
    void go_live();
    void keep_clock();
    void on_down(const std::string& reason);
    void on_change(const std::string& id);
    static constexpr std::chrono::seconds kPowerOffDeadline{10};
    void shut_down(std::chrono::milliseconds patience);
    static std::int64_t now_ns();  // since 1970
    void answer_sandbox_start();
    void answer_sandbox_waiters();
    void end_pod();
    void finish_end();

    Result<void> check_mounts(const runtime::Bundle& bundle) const;
    Result<void> find_joined(runtime::Bundle& bundle) const;
    /// Whether `path` is the pod's network namespace, or one of its stand-ins'.
    Result<void> check_network(const std::string& path) const;
    Result<void> join(const runtime::NamespacePath& joined,
                      runtime::ContainerSpec& container) const;
    /// The bundle, checked, and the rest of the request.
    Result<runtime::Bundle> complete(runtime::TaskCreate& request);
    Result<void> begin_create(runtime::TaskCreate request);
    /// The guest is up: what the container needs there.
    void admit(const std::string& id);
    void enter(const std::string& id, const RootDisks& disks);
    void end_create(const std::string& id, Result<void> created);
    void cancel_create(Entry& entry, Error reason);
    /// Whether the pod ends with it.
    bool is_last(const Entry& entry) const;
    /// Deletes it in the guest, then its disks, then here.
    void withdraw(const std::string& id);
    void detach_disks(const std::string& id);
    /// Deletes it here; the guest has nothing of it any more.
    void forget(const std::string& id);
    void discard(std::shared_ptr<Container> container);
    static void answer_gone(Entry entry, const runtime::TaskExit& exit);
    Result<Entry*> find(const std::string& id);
    PodSize wanted_size(const std::string& id, const runtime::ResourcesSpec& changes) const;
    void take_size(const PodSize& size, runtime::OnResult<void> done);
    void resize_next();
    void end_resize(Result<void> taken);
    void fit_size(runtime::OnResult<void> done);
    void update_pod(const runtime::ResourcesSpec& changes, runtime::OnResult<void> done);
    void update_container(const std::string& id, const runtime::ResourcesSpec& changes,
                          runtime::OnResult<void> done);
    runtime::ContainerState describe(const runtime::Bundle& bundle,
                                     const std::vector<std::string>& cgroups) const;
    void write_state(const std::string& id);

    EventLoop& loop_;
    Clock& clock_;
    std::shared_ptr<GuestClock> guest_clock_;  // while the guest answers
    StartMicrovm start_microvm_;
    Callbacks callbacks_;
    Phase phase_ = Phase::Empty;
    bool is_ending_ = false;
    runtime::PodSpec spec_;
    ChosenIsolation isolation_;
    PodSize own_size_;  // without its containers' limits
    PodSize size_;      // that the guest has
    struct Resize {
        PodSize size;
        runtime::OnResult<void> done;
    };
    std::deque<Resize> resizes_;
    bool is_resizing_ = false;  // the guest was asked for the first of them
    HeldJailUser user_;
    std::unique_ptr<PodDirectory> directory_;
    std::unique_ptr<Listener> listener_;
    std::unique_ptr<runtime::PodCgroup> cgroup_;
    std::string network_;  // path of its network namespace; "": it has none
    std::unique_ptr<Microvm> microvm_;
    std::unique_ptr<Clock::Deadline> deadline_;  // of the boot, then of the end
    std::map<std::string, Entry> entries_;
    std::shared_ptr<PortForwards> forwards_ = std::make_shared<PortForwards>(loop_);
    std::string booted_with_;  // the container whose root the machine was started with
    std::int64_t created_at_ns_ = 0;
    std::int64_t exited_at_ns_ = 0;
    std::optional<Result<void>> sandbox_begun_;  // how the guest of create_sandbox() came up
    std::vector<runtime::OnResult<runtime::SandboxStarted>> on_sandbox_started_;
    std::vector<runtime::OnResult<runtime::TaskExit>> on_sandbox_down_;
    bool was_stopped_ = false;
    runtime::OnResult<void> on_begun_;
    std::vector<runtime::OnResult<void>> on_ended_;
};

}  // namespace pepita::shim
