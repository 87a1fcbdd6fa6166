#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/result.h"

namespace pepita {

/// A thread that is joined when this goes. Where std::thread throws, start() returns an Error.
class Thread {
public:
    using Body = std::move_only_function<void()>;

    Thread() = default;

    /// Runs `body` on a thread that the kernel knows as `name` (cut to 15 bytes).
    /// Errors: ResourceExhausted (EAGAIN) where the process may have no more threads.
    static Result<Thread> start(std::string name, Body body);

    Thread(Thread&& other) noexcept = default;
    Thread& operator=(Thread&& other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;
    ~Thread() { join(); }

    explicit operator bool() const { return state_ != nullptr; }

    /// Waits for the body's end. Nothing where there is no thread or it was joined before.
    void join();

    /// The same, but no longer than that; false where the body goes on.
    bool join_within(std::chrono::milliseconds time);

    /// Makes the system call in which the thread waits fail with EINTR. A thread that is about to
    /// enter one does not notice: the caller needs a flag beside it (KVM: immediate_exit).
    void interrupt() const;

private:
    struct State;
    struct Deleter {
        void operator()(State* state) const;
    };
    explicit Thread(std::unique_ptr<State, Deleter> state) : state_(std::move(state)) {}

    std::unique_ptr<State, Deleter> state_;
};

}  // namespace pepita
