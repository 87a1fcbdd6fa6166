#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "compute/fault/circuit_breaker.h"
#include "compute/fault/retry.h"
#include "compute/task.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute {

namespace detail {
struct TaskState;
class PoolCore;
}  // namespace detail

/// A task that was submitted. Copies name the same task. Thread: any.
class TaskHandle {
public:
    const TaskId& id() const;
    /// Waits for the end.
    const ExecutionResult& wait() const;
    /// The result, or null while there is none.
    const ExecutionResult* poll() const;
    /// Ends the task: at once if it waits or is a process; a function when it looks at its stop
    /// token.
    void cancel() const;
    /// Calls `callback` once, on the pool's thread, which must not be held up; at once, on this
    /// thread, if the task has ended.
    using Callback = std::move_only_function<void(const ExecutionResult&)>;
    void on_end(Callback callback) const;

private:
    friend class Pool;
    explicit TaskHandle(std::shared_ptr<detail::TaskState> state) : state_(std::move(state)) {}
    // Shared by the handles, the pool and the running attempt: any may be the last.
    std::shared_ptr<detail::TaskState> state_;
};

/// What a pool does and did. Its numbers are read one after the other, while the pool goes on.
struct PoolCounts {
    std::vector<WorkerCounts> workers;
    std::uint32_t parked = 0;  // workers that sleep
    std::array<std::uint64_t, kPriorities> queued{};
    std::uint64_t processes = 0;                       // that run
    std::uint64_t attempts = 0;                        // that began
    std::uint64_t retries = 0;                         // of those, not the first of their task
    std::array<std::uint64_t, kTaskStatuses> ended{};  // by TaskStatus
};

/// Runs tasks: functions on the workers of a scheduler, processes beside them. One thread owns the
/// state of all tasks; attempts report to it, and it waits for processes and deadlines without
/// polling.
class Pool {
public:
    struct Options {
        static constexpr std::uint32_t kTasksMax = 1U << 20U;
        Scheduler::Options scheduler{};
        /// Submitted and not ended. More are refused.
        std::uint32_t tasks_max = 65'536;
        /// Processes at a time; 0: as many as workers.
        std::uint32_t processes_max = 0;
        RetryBudget::Options retry_budget{};
        CircuitBreaker::Options breaker{};
    };

    /// Errors: InvalidArgument for options out of range; what kept a thread from starting.
    static Result<std::unique_ptr<Pool>> create(const Options& options);
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;
    Pool(Pool&&) = delete;
    Pool& operator=(Pool&&) = delete;
    /// shutdown().
    ~Pool();

    /// Errors: InvalidArgument for a task that can never run, ResourceExhausted while the pool is
    /// full, FailedPrecondition after shutdown(). Thread: any.
    Result<TaskHandle> submit(Task task);
    /// All or none of them.
    Result<std::vector<TaskHandle>> submit_batch(std::vector<Task> tasks);
    /// Calls `callback` once after the last of them has ended.
    static void when_all(const std::vector<TaskHandle>& tasks,
                         std::move_only_function<void()> callback);

    /// Waits until no task is left.
    void drain();
    /// Cancels what is left and waits for it. Nothing can be submitted afterwards.
    void shutdown();

    std::size_t pending() const;
    /// Not after shutdown(). Thread: any.
    PoolCounts counts() const;

private:
    explicit Pool(std::unique_ptr<detail::PoolCore> core);
    std::unique_ptr<detail::PoolCore> core_;
};

}  // namespace pepita::compute
