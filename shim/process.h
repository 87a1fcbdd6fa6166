#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_api.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/microvm.h"
#include "shim/process_io.h"

namespace pepita::shim {

/// One process of a container as clients see it: its streams, its exit status, and the clients that
/// wait for that. Created, Running, then Stopped; with status 255 and a reason where the microVM
/// ended first.
///
/// Shared, because answers of the guest come when it may have been deleted: they hold it weakly.
class Process : public std::enable_shared_from_this<Process> {
public:
    struct Callbacks {
        std::move_only_function<void()> on_stopped;  // once
        /// Start and Exit, in this order.
        std::move_only_function<void(runtime::TaskEvent::Kind)> on_event;
        std::move_only_function<void(runtime::WindowSize)> on_resize;
        std::move_only_function<void(std::uint32_t signal)> on_signal;  // of the host's process
    };

    /// Opens the client's ends. Errors: as ProcessIo::create().
    static Result<std::shared_ptr<Process>> create(EventLoop& loop, runtime::ProcessId id,
                                                   runtime::TaskIo io, runtime::WindowSize window,
                                                   Callbacks callbacks);

    const runtime::ProcessId& id() const { return id_; }
    runtime::TaskStatus status() const { return status_; }
    std::uint32_t proxy_pid() const { return proxy_pid_; }
    std::uint32_t exit_status() const { return exit_status_; }
    runtime::Terminal terminal() const { return terminal_; }
    /// How it ended, or has not yet.
    runtime::TaskExit exit() const {
        return {.exit_status = exit_status_, .exited_at_ns = exited_at_ns_, .pid = proxy_pid_};
    }
    /// Its part of a TaskState.
    void describe(runtime::TaskState& state) const;
    /// What the guest has to provide.
    runtime::Streams streams() const { return io_->streams(); }

    /// The guest has made it: connects its streams, and follows it to its exit.
    void attach(Microvm& microvm, const runtime::StreamNumbers& numbers,
                runtime::OnResult<void> done);
    void start(Microvm& microvm, runtime::OnResult<runtime::TaskStarted> done);
    /// For one that is nothing in the guest: it only waits to be ended, as a pod's own does.
    Result<void> start_alone();
    /// By a signal, for such a one. The signals that pause(1) of Kubernetes ends with end it.
    void end_alone(std::uint32_t signal);
    void close_stdin() { io_->close_stdin(); }
    Result<void> attach_client(runtime::AttachRequest request) {
        return io_->add_attacher(std::move(request));
    }
    Result<void> reopen_log() { return io_->reopen_log(); }
    /// Answers when it has stopped and its output is written.
    void wait(runtime::OnResult<runtime::TaskExit> done);

    /// The microVM has ended.
    void lose(const std::string& reason);

private:
    Process(runtime::ProcessId id, const runtime::TaskIo& io, Callbacks callbacks);
    void stop(std::uint32_t status, const std::string& failure);
    void answer_waiters();
    void on_started(bool runs);
    void start_input();
    void tell_exit();

    runtime::ProcessId id_;
    runtime::Terminal terminal_;
    struct Paths {
        std::string in;
        std::string out;
        std::string err;
    } paths_;  // of streams that were given so
    std::uint32_t proxy_pid_;
    Callbacks callbacks_;
    runtime::TaskStatus status_ = runtime::TaskStatus::Created;
    std::uint32_t exit_status_ = 0;
    std::int64_t exited_at_ns_ = 0;
    bool is_starting_ = false;  // an exit is not told before the start
    std::string failure_;       // why exit_status_ is none of the program's own
    std::unique_ptr<ProcessIo> io_;
    std::vector<runtime::OnResult<runtime::TaskExit>> waiters_;
};

}  // namespace pepita::shim
