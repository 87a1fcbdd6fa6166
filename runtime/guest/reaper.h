#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {

/// Reaps every child that ends, whoever started it: in the guest each orphan ends up as ours.
/// Blocks SIGCHLD in this process. Thread: that of `loop`.
class Reaper {
public:
    using OnExit = std::move_only_function<void(pid_t pid, const ChildExit& exit)>;

    /// Errors: signalfd(2)'s.
    static Result<std::unique_ptr<Reaper>> create(EventLoop& loop, OnExit on_exit);

private:
    explicit Reaper(OnExit on_exit) : on_exit_(std::move(on_exit)) {}
    void reap_all();

    OnExit on_exit_;
    Fd signals_;
    EventLoop::Watch watch_;
};

}  // namespace pepita::runtime::guest
