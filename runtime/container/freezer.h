#pragma once

#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/conversation.h"

namespace pepita::runtime::container {

/// Stops and continues the processes of a cgroup. Thread: that of the loop.
class Freezer {
public:
    /// `cgroup` outlives this.
    Freezer(EventLoop& loop, const Cgroup& cgroup) : loop_(loop), cgroup_(cgroup) {}

    /// Calls `done` once: when every process stands still, or goes on. Errors: FailedPrecondition
    /// while another call is under way; DeadlineExceeded where a process does not stop within ten
    /// seconds, and then all of them go on.
    void set(bool frozen, OnDone<void> done);

private:
    Result<void> begin(bool frozen);
    void on_change();
    void finish(Result<void> result);

    EventLoop& loop_;
    const Cgroup& cgroup_;
    bool wanted_ = false;
    OnDone<void> done_;
    Fd events_;
    EventLoop::Watch watch_;
    EventLoop::Timer deadline_;
};

}  // namespace pepita::runtime::container
