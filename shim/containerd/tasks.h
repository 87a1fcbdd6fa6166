#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"

namespace pepita::shim::containerd {

/// What a pod's containers need and containerd leaves to its shim: the pod's description, a
/// stand-in on the host, a shared /dev/shm, hooks. Thread: that of `loop`, which waits for hooks.
class Tasks {
public:
    /// `root`: PodSpec::root of all pods.
    Tasks(EventLoop& loop, std::string root) : loop_(loop), root_(std::move(root)) {}
    Tasks(const Tasks&) = delete;
    Tasks& operator=(const Tasks&) = delete;
    Tasks(Tasks&&) = delete;
    Tasks& operator=(Tasks&&) = delete;
    ~Tasks() = default;

    /// For Pod::OnCreate. Errors: of the configuration, annotations, hooks; then nothing is left.
    Result<void> complete(runtime::TaskCreate& request, runtime::Bundle& bundle);

    /// Runs the hooks that follow a start and a deletion.
    void on_event(const runtime::TaskEvent& event);

private:
    struct StandIn {
        Child child;
        EventLoop::Watch watch;
    };
    Result<runtime::PodSpec> pod_spec(const runtime::TaskCreate& request,
                                      const runtime::Bundle& bundle) const;
    Result<void> keep(Child child);

    EventLoop& loop_;
    std::string root_;
    std::list<StandIn> stand_ins_;
    std::map<std::string, runtime::Bundle> hooked_;  // containers that have hooks
};

}  // namespace pepita::shim::containerd
