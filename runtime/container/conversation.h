#pragma once

#include <chrono>
#include <functional>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/control.h"

namespace pepita::runtime::container {

template <typename T>
using OnDone = std::move_only_function<void(Result<T>)>;

/// The parent's end of a control socket: waits for the child's messages by events. Thread: that of
/// the loop.
class Conversation {
public:
    Conversation(EventLoop& loop, Fd socket) : loop_(loop), socket_(std::move(socket)) {}

    /// Calls `done` once, later, with the next message. One call at a time.
    /// Errors: DeadlineExceeded after kControlDeadline; those of epoll_ctl(2), at once.
    Result<void> expect(OnDone<ControlMessage> done);

    Result<void> send(const ControlMessage& message) {
        return send_control(socket_.ref(), message);
    }

    bool is_open() const { return static_cast<bool>(socket_); }
    /// The child sees the end; `done` is not called any more.
    void close();

private:
    void finish(Result<ControlMessage> message);

    EventLoop& loop_;
    Fd socket_;
    OnDone<ControlMessage> done_;
    EventLoop::Watch watch_;
    EventLoop::Timer deadline_;
};

}  // namespace pepita::runtime::container
