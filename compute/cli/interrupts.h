#pragma once

#include <functional>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {

/// SIGINT, SIGTERM and SIGHUP as calls of a loop. Made before threads are: they inherit the mask.
class Interrupts {
public:
    using OnSignal = std::move_only_function<void(int signal)>;
    static Result<std::unique_ptr<Interrupts>> create(EventLoop& loop, OnSignal on_signal);

private:
    Interrupts(Fd signals, OnSignal on_signal)
        : signals_(std::move(signals)), on_signal_(std::move(on_signal)) {}
    Fd signals_;
    OnSignal on_signal_;
    EventLoop::Watch watch_;
};

}  // namespace pepita::compute::cli
