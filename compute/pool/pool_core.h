#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "compute/pool.h"
#include "compute/pool/task_state.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/thread.h"

namespace pepita::compute::detail {

/// The pool's thread and what it owns.
///
/// A task: take() → begin() (circuit, place) → an attempt → conclude() → end(), or begin() again
/// after the policy's wait. Everything but admit(), take(), cancel(), drain() and shutdown() is for
/// the thread of the loop.
class PoolCore {
public:
    using State = std::shared_ptr<TaskState>;

    static Result<std::unique_ptr<PoolCore>> create(const Pool::Options& options);
    PoolCore(const PoolCore&) = delete;
    PoolCore& operator=(const PoolCore&) = delete;
    PoolCore(PoolCore&&) = delete;
    PoolCore& operator=(PoolCore&&) = delete;
    ~PoolCore();

    // Thread: any.
    /// Reserves places for `count` tasks.
    Result<void> admit(std::size_t count);
    void take(State state);
    void cancel(State state);
    void drain();
    void shutdown();
    std::size_t pending() const;
    PoolCounts counts() const;

private:
    PoolCore(const Pool::Options& options, std::unique_ptr<EventLoop> loop,
             std::unique_ptr<Scheduler> scheduler);

    void arrive(const State& state);
    void begin(const State& state);
    void enqueue_process(const State& state);
    void start_function(const State& state);
    void start_next_processes();
    void start_process(const State& state);
    void arm_attempt_deadline(const State& state);
    /// Ends what the task is doing now: its status says why.
    void interrupt(const State& state);
    void on_function_end(const State& state, Result<std::string> outcome);
    void on_process_end(const State& state, ProcessRun::Outcome outcome);
    enum class Permanence : std::uint8_t { MayPass, Permanent };
    /// An attempt is over, or could not begin.
    void conclude(const State& state, Permanence permanence);
    bool may_retry(const State& state) const;
    void end(const State& state, TaskStatus status);
    CircuitBreaker* breaker_of(const State& state);

    const Pool::Options options_;
    const std::size_t processes_max_;
    std::unique_ptr<EventLoop> loop_;
    Random random_;
    RetryBudget budget_;
    std::map<std::string, CircuitBreaker> breakers_;
    std::set<State> tasks_;
    std::array<std::deque<State>, kPriorities> waiting_processes_;
    std::uint32_t tick_ = 0;

    /// Written by the loop's thread alone, read by any: each is right by itself, so relaxed.
    struct Counters {
        std::atomic<std::uint64_t> processes{0};
        std::atomic<std::uint64_t> attempts{0};
        std::atomic<std::uint64_t> retries{0};
        std::array<std::atomic<std::uint64_t>, kPriorities> waiting{};  // processes
        std::array<std::atomic<std::uint64_t>, kTaskStatuses> ended{};
    };
    Counters counters_;

    mutable std::mutex mutex_;
    std::condition_variable none_left_;
    std::size_t admitted_ = 0;
    bool shutting_down_ = false;

    // Handles lock it while they use the pool. Shared with them: a handle may outlive the pool.
    std::shared_ptr<PoolCore*> self_;
    std::unique_ptr<Scheduler> scheduler_;
    Thread thread_;
};

}  // namespace pepita::compute::detail
