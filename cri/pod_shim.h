#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_api.h"
#include "runtime/rpc/channel.h"
#include "runtime/sandbox_api.h"
#include "runtime/task_api.h"

namespace pepita::cri {

/// Reaps children whose lives are not ours: they go on when this goes. Thread: that of `loop`.
class Reaper {
public:
    explicit Reaper(EventLoop& loop) : loop_(loop) {}
    Reaper(const Reaper&) = delete;
    Reaper& operator=(const Reaper&) = delete;
    Reaper(Reaper&&) = delete;
    Reaper& operator=(Reaper&&) = delete;
    ~Reaper();

    Result<void> add(Child child);

private:
    struct Entry {
        Child child;
        EventLoop::Watch watch;
    };
    EventLoop& loop_;
    std::list<Entry> entries_;
};

/// The connection to a pod's pepita-shim, which outlives it. Thread: that of the loop.
class PodShim {
public:
    /// Once, where the shim has gone, or breaks the protocol; not after this has gone.
    using OnClosed = std::move_only_function<void(const Error&)>;

    /// Starts `program`; `reaper` takes it over.
    static Result<std::unique_ptr<PodShim>> start(EventLoop& loop, const std::string& program,
                                                  Reaper& reaper, OnClosed on_closed);
    /// To one that runs. Errors: NotFound or Unavailable where there is none.
    static Result<std::unique_ptr<PodShim>> connect(EventLoop& loop, const std::string& socket,
                                                    OnClosed on_closed);
    PodShim(const PodShim&) = delete;
    PodShim& operator=(const PodShim&) = delete;
    PodShim(PodShim&&) = delete;
    PodShim& operator=(PodShim&&) = delete;
    /// Open questions are answered with Unavailable.
    ~PodShim();

    runtime::TaskClient& tasks() { return tasks_; }
    runtime::SandboxClient& sandbox() { return sandbox_; }
    runtime::PodClient& pod() { return pod_; }

private:
    explicit PodShim(std::shared_ptr<runtime::Channel> channel);
    static Result<std::unique_ptr<PodShim>> over(EventLoop& loop, Fd socket, OnClosed on_closed);

    std::shared_ptr<runtime::Channel> channel_;
    runtime::TaskClient tasks_;
    runtime::SandboxClient sandbox_;
    runtime::PodClient pod_;
};

}  // namespace pepita::cri
