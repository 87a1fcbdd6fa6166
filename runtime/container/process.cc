#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/control.h"
#include "runtime/container/conversation.h"
#include "runtime/container/engine.h"
#include "runtime/container/processes.h"

// The parent's side of one process; child.cc has the other.
namespace pepita::runtime::container {
namespace {

using Kind = ControlMessage::Kind;

}  // namespace

Result<std::unique_ptr<Process>> Process::create(EventLoop& loop, pid_t pid, Fd pidfd, Fd control,
                                                 std::string program, OnDone<void> on_ready) {
    std::unique_ptr<Process> process(
        new Process(loop, pid, std::move(pidfd), std::move(control), std::move(program)));
    process->on_ready_ = std::move(on_ready);
    TRY(process->expect_ready());
    return process;
}

Result<void> Process::expect_ready() {
    return conversation_.expect([this](Result<ControlMessage> message) {
        Result<void> ready;
        const bool is_step =
            message && (message->kind == Kind::Claimed || message->kind == Kind::Working ||
                        message->kind == Kind::Id);
        if (is_step) {
            has_claimed_ |= message->kind == Kind::Claimed;
            if (message->kind == Kind::Id) {
                ready = add_id(message->value);
            }
            if (ready) {
                ready = expect_ready();
            }
            if (ready) {
                return;
            }
        } else {
            ready = on_set_up(std::move(message));
        }
        OnDone<void> done = std::exchange(on_ready_, nullptr);
        done(std::move(ready));  // which may destroy the process
    });
}

Result<void> Process::add_id(std::uint32_t id) {
    if (user_.groups.size() == UserIds::kGroupsMax) {
        return Error(Code::DataLoss, "the process sent more groups than a user can have");
    }
    if (ids_ == 0) {
        user_.uid = id;
    } else if (ids_ == 1) {
        user_.gid = id;
    } else {
        user_.groups.push_back(id);
    }
    ++ids_;
    return {};
}

void Process::abandon() {
    if (conversation_.is_open() && !is_ready_) {
        kill_process(pidfd_.ref());  // whatever it waits for
    }
    conversation_.close();
}

Result<void> Process::on_set_up(Result<ControlMessage> message) {
    if (message && message->kind == Kind::Ready) {
        is_ready_ = true;
        terminal_ = std::move(message->fd);
        return {};
    }
    kill_process(pidfd_.ref());
    conversation_.close();
    if (!message) {
        return std::move(message).error();
    }
    if (message->kind == Kind::Failed) {
        return error_of(*message);
    }
    if (message->kind == Kind::ExecFailed) {
        return Error::from_errno(static_cast<int>(message->value), "exec '" + program_ + "'");
    }
    return Error(Code::Internal, "the process ended before it was ready");
}

void Process::start(OnDone<std::uint32_t> done) {
    if (!is_ready_) {
        return done(Error(Code::FailedPrecondition, "it is not ready"));
    }
    if (!conversation_.is_open()) {
        return done(Error(Code::FailedPrecondition, "it was started before"));
    }
    if (!conversation_.send({.kind = Kind::Start})) {
        conversation_.close();
        return done(Error(Code::FailedPrecondition, "it has exited"));
    }
    on_start_ = std::move(done);
    if (Result<void> expected = expect_start(); !expected) {
        conversation_.close();
        std::exchange(on_start_, nullptr)(std::move(expected).error());
    }
}

Result<void> Process::expect_start() {
    return conversation_.expect([this](Result<ControlMessage> message) {
        if (message && message->kind == Kind::Working && expect_start()) {
            return;
        }
        Result<std::uint32_t> started = on_started(std::move(message));
        // The call may destroy the process.
        std::exchange(on_start_, nullptr)(std::move(started));
    });
}

Result<std::uint32_t> Process::on_started(Result<ControlMessage> message) {
    conversation_.close();
    if (!message) {
        kill_process(pidfd_.ref());
        return std::move(message).error();
    }
    switch (message->kind) {
        case Kind::Closed:
            return 0U;  // by execve(2)
        case Kind::ExecFailed:
            return message->value;
        case Kind::Failed:
            return error_of(*message);
        case Kind::Claimed:
        case Kind::Working:
        case Kind::Id:
        case Kind::Ready:
        case Kind::Mapped:
        case Kind::Start:
            break;
    }
    kill_process(pidfd_.ref());
    return Error(Code::Internal, "the process sent what was not expected");
}

}  // namespace pepita::runtime::container
