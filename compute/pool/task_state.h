#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

#include "compute/pool.h"
#include "compute/pool/process_run.h"
#include "compute/task.h"
#include "kernel-abi/sys/event_loop.h"

namespace pepita::compute::detail {

class PoolCore;

/// Everything about one task. The mutex guards what handles read; the rest is the pool thread's.
struct TaskState : std::enable_shared_from_this<TaskState> {
    enum class Stage : std::uint8_t { Waiting, Running, Ended };

    Task task;
    TaskId id;
    TimePoint submitted;
    std::weak_ptr<PoolCore*> pool;  // expires with the pool: a handle may outlive it

    // The pool thread's.
    Stage stage = Stage::Waiting;
    bool cancel_asked = false;
    bool timed_out = false;  // the task's own time is over
    bool attempt_timed_out = false;
    std::uint32_t tries = 0;  // attempts, and refusals of the circuit
    std::uint32_t attempts = 0;
    TimePoint started;
    std::stop_source stop;
    std::unique_ptr<ProcessRun> process;
    EventLoop::Timer deadline;
    EventLoop::Timer attempt_deadline;
    EventLoop::Timer retry;
    ExecutionResult last;  // of the last attempt

    std::mutex mutex;
    std::condition_variable ended;
    std::unique_ptr<const ExecutionResult> result;
    std::vector<TaskHandle::Callback> callbacks;
};

}  // namespace pepita::compute::detail
