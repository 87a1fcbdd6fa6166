#include "shim/process.h"

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/microvm.h"
#include "shim/process_io.h"

namespace pepita::shim {
namespace {

using runtime::OnResult;
using runtime::TaskStatus;

// Of a process whose exit nobody saw, because the microVM ended first.
constexpr std::uint32_t kLostStatus = 255;

}  // namespace

Process::Process(runtime::ProcessId id, const runtime::TaskIo& io, Callbacks callbacks)
    : id_(std::move(id)),
      terminal_(io.terminal),
      paths_{.in = io.in.path, .out = io.out.path, .err = io.err.path},
      proxy_pid_(io.proxy_pid),
      callbacks_(std::move(callbacks)) {}

Result<std::shared_ptr<Process>> Process::create(EventLoop& loop, runtime::ProcessId id,
                                                 runtime::TaskIo io, runtime::WindowSize window,
                                                 Callbacks callbacks) {
    std::shared_ptr<Process> made(new Process(std::move(id), io, std::move(callbacks)));
    // It owns these ends, so it is there when they call.
    Process* self = made.get();
    made->io_ = TRY(ProcessIo::create(
        loop, std::move(io), window,
        {.on_output_written = [self] { self->answer_waiters(); },
         .on_resize = [self](runtime::WindowSize size) { self->callbacks_.on_resize(size); },
         .on_signal = [self](std::uint32_t signal) { self->callbacks_.on_signal(signal); },
         .on_proxy_gone = [self] { self->callbacks_.on_signal(SIGKILL); }}));
    return made;
}

void Process::attach(Microvm& microvm, const runtime::StreamNumbers& numbers, OnResult<void> done) {
    microvm.guest().wait(id_, [weak = weak_from_this()](const Result<std::uint32_t>& status) {
        const auto self = weak.lock();
        // Without a status the link is lost, and lose() follows.
        if (self && status) {
            self->stop(*status, "");
        }
    });
    microvm.connect_streams(numbers, [weak = weak_from_this(), done = std::move(done)](
                                         Result<Microvm::Connected> connected) mutable {
        const auto self = weak.lock();
        if (!connected) {
            return done(std::move(connected).error());
        }
        if (!self) {
            return done(Error(Code::Aborted, "the process was deleted"));
        }
        done(self->io_->attach(std::move(connected->in), std::move(connected->out),
                               std::move(connected->err)));
    });
}

void Process::start(Microvm& microvm, OnResult<runtime::TaskStarted> done) {
    if (status_ != TaskStatus::Created) {
        return done(Error(Code::FailedPrecondition, "it was started before"));
    }
    is_starting_ = true;
    microvm.guest().start(id_, [weak = weak_from_this(), done = std::move(done)](
                                   const Result<runtime::Started>& started) mutable {
        const auto self = weak.lock();
        if (self) {
            self->on_started(started && started->exec_errno == 0);
        }
        if (!started) {
            return done(Error(started.error().code(), started.error().message()));
        }
        done(runtime::TaskStarted{.pid = self ? self->proxy_pid_ : 0,
                                  .exec_errno = started->exec_errno});
    });
}

void Process::describe(runtime::TaskState& state) const {
    state.pid = proxy_pid_;
    state.status = status_;
    state.exit_status = exit_status_;
    state.terminal = terminal_;
    state.exited_at_ns = exited_at_ns_;
    state.in = paths_.in;
    state.out = paths_.out;
    state.err = paths_.err;
}

void Process::on_started(bool runs) {
    is_starting_ = false;
    if (runs && status_ == TaskStatus::Created) {
        status_ = TaskStatus::Running;
    }
    if (runs) {
        start_input();
        callbacks_.on_event(runtime::TaskEvent::Kind::Start);
    }
    if (status_ == TaskStatus::Stopped) {
        tell_exit();
    }
}

void Process::start_input() {
    if (status_ == TaskStatus::Stopped) {
        return;
    }
    if (const Result<void> begun = io_->start_input(); !begun) {
        log::warn("a process has no input", {{"error", begun.error().message()}});
        io_->close_stdin();
    }
}

void Process::tell_exit() { callbacks_.on_event(runtime::TaskEvent::Kind::Exit); }

Result<void> Process::start_alone() {
    if (status_ != TaskStatus::Created) {
        return Error(Code::FailedPrecondition, "it was started before");
    }
    TRY(io_->attach({}, {}, {}));
    on_started(true);
    return {};
}

void Process::end_alone(std::uint32_t signal) {
    constexpr std::uint32_t by_signal = 128;
    if (signal == SIGKILL) {
        stop(by_signal + signal, "");
    } else if (signal == SIGTERM || signal == SIGINT) {
        stop(0, "");
    }
}

void Process::wait(OnResult<runtime::TaskExit> done) {
    waiters_.push_back(std::move(done));
    answer_waiters();
}

void Process::lose(const std::string& reason) { stop(kLostStatus, "the microVM ended: " + reason); }

void Process::stop(std::uint32_t status, const std::string& failure) {
    if (status_ == TaskStatus::Stopped) {
        return;
    }
    const auto self = shared_from_this();  // a waiter may have us deleted
    status_ = TaskStatus::Stopped;
    exit_status_ = status;
    exited_at_ns_ = std::chrono::duration_cast<std::chrono::nanoseconds>(
                        std::chrono::system_clock::now().time_since_epoch())
                        .count();
    failure_ = failure;
    io_->exited(status);
    callbacks_.on_stopped();
    if (!is_starting_) {
        tell_exit();
    }
    answer_waiters();
}

void Process::answer_waiters() {
    if (status_ != TaskStatus::Stopped) {
        return;
    }
    // A lost guest writes no more, and the pumps of its connections end by themselves.
    if (failure_.empty() && !io_->is_output_written()) {
        return;
    }
    for (auto& waiter : std::exchange(waiters_, {})) {
        if (failure_.empty()) {
            waiter(exit());
        } else {
            waiter(Error(Code::Aborted, failure_));
        }
    }
}

}  // namespace pepita::shim
