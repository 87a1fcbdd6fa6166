#pragma once

#include <signal.h>

#include <functional>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::cli {

/// The signals that this process gets from others, as calls on a loop instead of their effects,
/// until it goes. SIGCHLD, SIGPIPE, SIGURG and faults are left alone.
class SignalWatch {
public:
    static Result<std::unique_ptr<SignalWatch>> create(
        EventLoop& loop, std::move_only_function<void(int signal)> on_signal);
    SignalWatch(const SignalWatch&) = delete;
    SignalWatch& operator=(const SignalWatch&) = delete;
    SignalWatch(SignalWatch&&) = delete;
    SignalWatch& operator=(SignalWatch&&) = delete;
    ~SignalWatch();

private:
    SignalWatch(Fd signals, const sigset_t& before,
                std::move_only_function<void(int signal)> on_signal);
    void on_ready();

    Fd signals_;
    sigset_t before_;
    std::move_only_function<void(int signal)> on_signal_;
    EventLoop::Watch watch_;
};

}  // namespace pepita::runtime::cli
