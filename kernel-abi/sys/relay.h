#pragma once

#include <array>
#include <functional>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pump.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// Joins two connected stream sockets: what comes from either goes to the other, in order, without
/// loss, as fast as the slower one takes it. Each way ends by itself, and its end is passed on, so
/// half-closed connections work through it. A side that is gone ends both ways.
///
/// The process ignores SIGPIPE. Thread: that of `loop`.
class Relay {
public:
    using OnEnd = std::move_only_function<void()>;

    /// `on_end` is called once, when both ways have ended; the relay may go in that call. A relay
    /// that goes closes both sockets.
    static Result<std::unique_ptr<Relay>> create(EventLoop& loop, Fd left, Fd right, OnEnd on_end);

private:
    /// From one socket to the other. A descriptor number serves one pump, so each way has its own
    /// pair.
    struct Way {
        Fd source;
        Fd sink;
        std::unique_ptr<Pump> pump;
    };
    explicit Relay(OnEnd on_end) : on_end_(std::move(on_end)) {}
    Result<void> open(EventLoop& loop, Way& way, FdRef source, FdRef sink);
    void end(Way& way, Pump::End how);

    std::array<Way, 2> ways_;
    int ways_left_ = 2;
    OnEnd on_end_;
};

}  // namespace pepita
