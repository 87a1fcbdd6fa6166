#pragma once

#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"

namespace pepita::storage::daemon {

/// A thread that does what it is given, one thing after the other. Thread: any.
class Worker {
public:
    static Result<std::unique_ptr<Worker>> start();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    Worker(Worker&&) = delete;
    Worker& operator=(Worker&&) = delete;
    /// Waits for the task in progress; later ones are dropped.
    ~Worker();

    void post(EventLoop::Task task) { loop_->post(std::move(task)); }

private:
    explicit Worker(std::unique_ptr<EventLoop> loop) : loop_(std::move(loop)) {}
    std::unique_ptr<EventLoop> loop_;
    Thread thread_;
};

}  // namespace pepita::storage::daemon
