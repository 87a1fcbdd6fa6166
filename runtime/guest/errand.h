#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <list>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime::guest {

/// Work that may block (on a disk, or on a driver), done by a child process each, so that PID 1
/// never does. The caller reaps the children. Thread: that of the loop.
class Errands {
public:
    using Work = std::move_only_function<Result<void>()>;

    explicit Errands(EventLoop& loop) : loop_(loop) {}

    /// Calls `work` in a child with no descriptor of ours, and `done` with its result.
    /// Errors: DeadlineExceeded after `limit`, when the child is killed.
    void run(Work work, std::chrono::seconds limit, OnResult<void> done);

private:
    struct Errand {
        pid_t pid = 0;
        Fd control;
        OnResult<void> done;
        EventLoop::Watch watch;
        EventLoop::Timer deadline;
    };
    using Place = std::list<Errand>::iterator;
    void finish(Place place, Result<void> result);

    EventLoop& loop_;
    std::list<Errand> errands_;
};

}  // namespace pepita::runtime::guest
