#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/guest_api.h"
#include "runtime/pod_api.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/microvm.h"
#include "shim/process.h"

namespace pepita::shim {

/// One container of a pod: its bundle, its own process, and the processes that were exec'ed into
/// it. It is Creating until enter() has answered, and has no microVM before that and after lose().
///
/// Shared, because answers of the guest come when it may have been deleted: they hold it weakly.
class Container : public std::enable_shared_from_this<Container> {
public:
    static constexpr std::size_t kProcessesMax = 256;

    struct Callbacks {
        std::move_only_function<void()> on_change;  // of its own process's status
        /// To be sent to one of its processes, or SIGKILL because its stand-in was killed.
        std::move_only_function<void(const runtime::ProcessId&, std::uint32_t signal)> on_signal;
        std::move_only_function<void(const runtime::TaskEvent&)> on_event;
    };

    /// Opens the client's ends of its own process.
    static Result<std::shared_ptr<Container>> create(EventLoop& loop, runtime::Bundle bundle,
                                                     runtime::TaskIo io, Callbacks callbacks);

    const std::string& id() const { return bundle_.container.id; }
    const runtime::Bundle& bundle() const { return bundle_; }
    const std::string& created_at() const { return created_at_; }
    bool is_creating() const { return is_creating_; }
    /// Whether it stands for the pod itself: it has no root and no process in the guest, and its
    /// end is the microVM's.
    bool is_pod() const { return is_pod_; }
    /// Its own process's; Unknown while it is creating.
    runtime::TaskStatus status() const;
    std::uint32_t proxy_pid() const { return own().proxy_pid(); }
    runtime::TaskExit exit() const { return own().exit(); }

    /// For one that is_pod(): the microVM is up.
    void enter_as_pod(Microvm& microvm);
    /// Has the guest make it. `microvm` is borrowed until lose().
    void enter(Microvm& microvm, const RootDisks& disks, runtime::OnResult<void> done);
    /// Whether the guest may have something of it.
    bool is_in_guest() const { return is_in_guest_; }
    /// Has the guest delete it; a process that was not started is ended. Without a microVM it
    /// answers at once.
    void leave(runtime::OnResult<void> done);
    /// The microVM has ended: all its processes are stopped.
    void lose(const std::string& reason);

    /// Tells of one of its processes, or of itself.
    void tell(runtime::TaskEvent::Kind kind, const std::string& exec);

    // The task API for its processes, by exec id; "" is its own.
    void start(const std::string& exec, runtime::OnResult<runtime::TaskStarted> done);
    void exec(runtime::TaskExec request, runtime::OnResult<void> done);
    Result<runtime::TaskState> state(const std::string& exec) const;
    void kill(const std::string& exec, std::uint32_t signal, bool all,
              runtime::OnResult<void> done);
    void wait(const std::string& exec, runtime::OnResult<runtime::TaskExit> done);
    void resize(const std::string& exec, runtime::WindowSize size, runtime::OnResult<void> done);
    void close_stdin(const std::string& exec, runtime::OnResult<void> done);
    /// Of its own process, whose streams the shim keeps.
    Result<void> attach_client(runtime::AttachRequest request);
    Result<void> reopen_log();
    void user(runtime::OnResult<runtime::UserIds> done);
    /// Those that have not stopped and have a stand-in.
    std::vector<runtime::TaskProcess> pids() const;
    void pause(runtime::OnResult<void> done);
    void resume(runtime::OnResult<void> done);
    void update(const runtime::ResourcesSpec& changes, runtime::OnResult<void> done);
    void stats(runtime::OnResult<runtime::ContainerStats> done);
    /// Deletes a process that was exec'ed and does not run.
    void remove_exec(const std::string& exec, runtime::OnResult<runtime::TaskExit> done);

private:
    Container(EventLoop& loop, runtime::Bundle bundle, Callbacks callbacks);
    const Process& own() const { return *processes_.at(""); }
    Result<std::shared_ptr<Process>> open_process(const runtime::ProcessId& id, runtime::TaskIo io,
                                                  runtime::WindowSize window);
    Result<Process*> find(const std::string& exec) const;
    /// The process, if the guest can be asked about it.
    Result<Process*> find_live(const std::string& exec) const;
    /// The same, of a container that is not paused.
    Result<Process*> find_active(const std::string& exec) const;
    runtime::TaskStatus status_of(const Process& process) const;
    /// Errors: unless the guest has it, as a container that may be paused or limited.
    Result<void> check_in_guest() const;
    bool make_room();
    Result<runtime::TaskStarted> start_as_pod();
    void look_for_oom();

    EventLoop& loop_;
    runtime::Bundle bundle_;
    Callbacks callbacks_;
    bool is_pod_;
    std::string created_at_;
    Microvm* microvm_ = nullptr;
    bool is_creating_ = true;
    bool is_in_guest_ = false;
    bool is_paused_ = false;
    std::uint64_t oom_kills_ = 0;  // that were told of
    std::map<std::string, std::shared_ptr<Process>> processes_;
};

}  // namespace pepita::shim
