#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "kernel-abi/sys/event_loop.h"

namespace pepita::shim {

/// Where a pod's deadlines come from: its loop, or a test that moves the time.
class Clock {
public:
    /// Given up when it is destroyed.
    class Deadline {
    public:
        Deadline() = default;
        Deadline(const Deadline&) = delete;
        Deadline& operator=(const Deadline&) = delete;
        Deadline(Deadline&&) = delete;
        Deadline& operator=(Deadline&&) = delete;
        virtual ~Deadline() = default;
    };
    using Task = std::move_only_function<void()>;

    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    Clock(Clock&&) = delete;
    Clock& operator=(Clock&&) = delete;
    virtual ~Clock() = default;

    /// Calls `task` once, `delay` from now. The task may destroy its Deadline.
    virtual std::unique_ptr<Deadline> after(std::chrono::milliseconds delay, Task task) = 0;
};

/// The clock of a loop.
class LoopClock final : public Clock {
public:
    explicit LoopClock(EventLoop& loop) : loop_(loop) {}
    std::unique_ptr<Deadline> after(std::chrono::milliseconds delay, Task task) override {
        return std::make_unique<LoopDeadline>(loop_.after(delay, std::move(task)));
    }

private:
    class LoopDeadline final : public Deadline {
    public:
        explicit LoopDeadline(EventLoop::Timer timer) : timer_(std::move(timer)) {}

    private:
        EventLoop::Timer timer_;
    };
    EventLoop& loop_;
};

}  // namespace pepita::shim
