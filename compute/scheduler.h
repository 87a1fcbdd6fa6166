#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "compute/scheduler/atomics.h"
#include "compute/scheduler/inject_queue.h"
#include "compute/scheduler/sleepers.h"
#include "compute/scheduler/split_deque.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"

namespace pepita::compute {

class Scheduler;
class Worker;

/// Which of the waiting jobs starts first. Each level has a share of the starts, so none starves.
enum class Priority : std::uint8_t { High, Normal, Low, Idle };
inline constexpr std::size_t kPriorities = 4;
/// The priority that start number `tick` looks at first. Of 64 starts, 48 prefer High, 12 Normal, 3
/// Low, 1 Idle.
std::size_t preferred_priority(std::uint32_t tick);

/// What a caller wants if the queue of its priority is full.
enum class WhenFull : std::uint8_t { RunHere, Wait, Refuse };

/// Work that some worker runs once.
class Job {
public:
    using Function = void (*)(Job& job, Worker& worker);
    explicit Job(Function body) : body_(body) {}
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    Job(Job&&) = delete;
    Job& operator=(Job&&) = delete;
    ~Job() = default;

    void run(Worker& worker) { body_(*this, worker); }

private:
    friend class Worker;
    friend class Scheduler;
    Function body_;
    std::atomic<std::uint32_t> done_{0};
};

/// A thread of the pool, as its jobs see it: what spawns and joins. A job gets the worker that runs
/// it, and uses it on this thread and within this call only.
class Worker {
public:
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    Worker(Worker&&) = delete;
    Worker& operator=(Worker&&) = delete;
    ~Worker() = default;

    /// Runs both, at the same time if another worker is free, and returns after both.
    /// `a` and `b` are called with the worker that runs them.
    template <std::invocable<Worker&> A, std::invocable<Worker&> B>
    void join(const A& a, const B& b);

    /// Calls `body(first, last)` for pieces of the range that cover it once, in any order. Pieces
    /// are at most `grain` long; the range is split while workers take halves of it. Pieces that
    /// have not begun when `cancelled` is requested are left out.
    template <std::invocable<std::size_t, std::size_t> Body>
    void parallel_for(std::size_t first, std::size_t last, std::size_t grain, const Body& body,
                      const std::stop_token& cancelled = {});

    /// `combine`s what `body(first, last)` returns for each piece, from left to right. `combine` is
    /// associative. The pieces depend on the range and the grain alone, so a floating-point sum is
    /// the same on any number of workers.
    template <typename T, std::invocable<std::size_t, std::size_t> Body,
              std::invocable<T, T> Combine>
    T parallel_reduce(std::size_t first, std::size_t last, std::size_t grain, const Body& body,
                      const Combine& combine);

    std::uint32_t index() const { return index_; }
    Scheduler& scheduler() { return scheduler_; }

private:
    friend class Scheduler;
    friend class Scope;
    Worker(Scheduler& scheduler, std::uint32_t index);

    bool push(Job& job) {
        if (!deque_.push(&job)) [[unlikely]] {
            return false;
        }
        if (deque_.should_share()) [[unlikely]] {
            share();
        }
        return true;
    }
    bool pop() {
        if (!deque_.pop()) [[unlikely]] {
            return false;
        }
        if (deque_.is_requested()) [[unlikely]] {
            share();
        }
        return true;
    }
    template <typename Body>
    void for_range(std::size_t first, std::size_t last, std::size_t grain, const Body& body,
                   const std::stop_token& cancelled);
    void share();
    /// For jobs that may be long: each is there for thieves at once.
    bool push_shared(Job& job);
    void wake_thief();
    /// Waits for the end of the newest job, which was stolen. Runs other workers' jobs meanwhile.
    void await_stolen(Job& job);
    bool may_help() const;
    bool run_stolen();
    bool run_injected();
    /// Looks for work a while longer, then sleeps. A worker that awaits a job starts no injected
    /// one.
    void rest(const Job* awaited);
    bool is_work_in_sight(const Job* awaited) const;
    void run_until_stopped();

    Scheduler& scheduler_;
    const std::uint32_t index_;
    const bool has_peers_;
    std::uint32_t tick_ = 0;
    std::uint32_t victim_ = 0;
    std::uintptr_t stack_limit_ = 0;  // below it this thread's stack is too full to help
    std::atomic<std::uint64_t> stolen_{0};
    std::atomic<std::uint64_t> injected_{0};
    std::atomic<std::uint64_t> rests_{0};
    pthread_t thread_{};
    SplitDeque<Job> deque_;
};

/// Jobs that are spawned one by one and joined together, at the latest when this goes. It belongs
/// to the job that made it: spawn() and wait() are for its thread. A spawned job that spawns has
/// its own.
class Scope {
public:
    explicit Scope(Worker& worker) : worker_(worker) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    Scope(Scope&&) = delete;
    Scope& operator=(Scope&&) = delete;
    ~Scope() { wait(); }

    /// Runs `body(worker)` by the end of wait(); at once if too many jobs are waiting already.
    template <std::invocable<Worker&> Body>
    void spawn(Body body);
    void wait();

private:
    struct Spawned : Job {
        using Job::Job;
        void (*destroy)(Spawned*) = nullptr;
        Spawned* below = nullptr;
    };
    Worker& worker_;
    Spawned* newest_ = nullptr;
};

/// What a pool did so far, for one worker.
struct WorkerCounts {
    std::uint64_t stolen = 0;
    std::uint64_t injected = 0;
    std::uint64_t rests = 0;
};

/// A fixed set of threads that steal work from each other. Source: Blumofe and Leiserson, 1999.
class Scheduler {
public:
    struct Options {
        static constexpr std::uint32_t kWorkersMax = Sleepers<>::kWorkersMax;
        /// 0: as many as this process may use processors.
        std::uint32_t workers = 0;
        /// For each priority; a power of two.
        std::uint32_t queue_capacity = 4096;
        /// Threads are called NAME-0, NAME-1, ...
        std::string name = "worker";
        /// Binds worker n to the n-th processor that this process may use.
        enum class Pinning : std::uint8_t { None, OnePerProcessor } pinning = Pinning::None;
    };

    /// Errors: InvalidArgument for options out of range; what kept a thread from starting.
    static Result<std::unique_ptr<Scheduler>> create(const Options& options);
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;
    Scheduler(Scheduler&&) = delete;
    Scheduler& operator=(Scheduler&&) = delete;
    /// Runs what was submitted, then ends the threads.
    ~Scheduler();

    /// Runs `body(worker)` on a worker and returns its result. Not from a worker.
    template <std::invocable<Worker&> Body>
    auto run(const Body& body, Priority priority = Priority::Normal);

    /// Has a worker call `body(worker)` some time. False if the queue is full and `when_full` is
    /// Refuse. With RunHere, `body` runs before this returns, on a worker of its own that has no
    /// peers. Thread: any; from a job not with Wait, because all workers could wait for each other.
    template <std::invocable<Worker&> Body>
    bool submit(Body body, Priority priority = Priority::Normal,
                WhenFull when_full = WhenFull::Wait);

    std::uint32_t size() const { return size_; }
    std::uint64_t queued(Priority priority) const {
        return lanes_[std::to_underlying(priority)]->queue.size();
    }
    std::vector<WorkerCounts> counts() const;
    /// How many workers sleep. One that waits for a stolen job counts, too.
    std::uint32_t parked() const { return idle_.count() + joiners_.count(); }

private:
    friend class Worker;
    Scheduler(const Options& options, std::uint32_t size);

    /// The queue of one priority, and the producers that wait for room in it.
    struct Lane {
        explicit Lane(std::uint32_t capacity) : queue(capacity) {}
        InjectQueue<Job> queue;
        std::atomic<std::uint32_t> waiting{0};
        std::atomic<std::uint32_t> epoch{0};
    };
    Job* next_injected(std::uint32_t tick);
    Job* pop_from(Lane& lane);
    bool inject(Job& job, Priority priority, WhenFull when_full);
    static void wait_for(Job& job);
    static void complete(Job& job);
    bool is_any_queued() const;

    const std::uint32_t size_;
    const std::uint32_t room_;  // a lane that was full has room again
    std::array<std::unique_ptr<Lane>, kPriorities> lanes_;
    std::vector<std::unique_ptr<Worker>> workers_;
    Sleepers<> idle_;     // they take any work
    Sleepers<> joiners_;  // they wait for a stolen job, and steal meanwhile
    std::atomic<std::uint32_t> stopping_{0};
    std::vector<Thread> threads_;  // last: they use the rest
};

namespace detail {

/// A job on the stack of the function that joins it.
template <typename Body>
struct StackJob : Job {
    explicit StackJob(const Body& callee_of)
        : Job([](Job& job, Worker& worker) { static_cast<StackJob&>(job).callee(worker); }),
          callee(callee_of) {}
    const Body& callee;
};

}  // namespace detail

template <std::invocable<Worker&> A, std::invocable<Worker&> B>
void Worker::join(const A& a, const B& b) {
    detail::StackJob<B> job(b);
    if (!push(job)) [[unlikely]] {
        a(*this);
        b(*this);
        return;
    }
    a(*this);
    if (pop()) [[likely]] {
        b(*this);
    } else {
        await_stolen(job);
    }
}

template <std::invocable<std::size_t, std::size_t> Body>
void Worker::parallel_for(std::size_t first, std::size_t last, std::size_t grain, const Body& body,
                          const std::stop_token& cancelled) {
    CHECK(grain > 0);
    if (first < last) {
        for_range(first, last, grain, body, cancelled);
    }
}

template <typename Body>
void Worker::for_range(std::size_t first, std::size_t last, std::size_t grain, const Body& body,
                       const std::stop_token& cancelled) {
    while (last - first > grain && !cancelled.stop_requested()) {
        // Split only if thieves have nothing else to take here (lazy binary splitting, Tzannes
        // 2010).
        if (has_peers_ && (deque_.is_requested() || !deque_.has_shared())) {
            const std::size_t middle = first + (last - first) / 2;
            join([&](Worker& self) { self.for_range(first, middle, grain, body, cancelled); },
                 [&](Worker& self) { self.for_range(middle, last, grain, body, cancelled); });
            return;
        }
        body(first, first + grain);
        first += grain;
    }
    if (!cancelled.stop_requested()) {
        body(first, last);
    }
}

template <typename T, std::invocable<std::size_t, std::size_t> Body, std::invocable<T, T> Combine>
T Worker::parallel_reduce(std::size_t first, std::size_t last, std::size_t grain, const Body& body,
                          const Combine& combine) {
    CHECK(grain > 0);
    CHECK(first < last);
    if (last - first <= grain) {
        return body(first, last);
    }
    const std::size_t middle = first + (last - first) / 2;
    std::optional<T> left;
    std::optional<T> right;
    join(
        [&](Worker& self) { left = self.parallel_reduce<T>(first, middle, grain, body, combine); },
        [&](Worker& self) { right = self.parallel_reduce<T>(middle, last, grain, body, combine); });
    return combine(*std::move(left), *std::move(right));
}

template <std::invocable<Worker&> Body>
void Scope::spawn(Body body) {
    struct Held : Spawned {
        explicit Held(Body held)
            : Spawned([](Job& job, Worker& worker) { static_cast<Held&>(job).callee(worker); }),
              callee(std::move(held)) {}
        Body callee;
    };
    CHECK(::pthread_equal(::pthread_self(), worker_.thread_) != 0);
    auto job = std::make_unique<Held>(std::move(body));
    if (!worker_.push_shared(*job)) {
        job->run(worker_);
        return;
    }
    job->destroy = [](Spawned* spawned) {
        std::unique_ptr<Held>(static_cast<Held*>(spawned)).reset();
    };
    job->below = std::exchange(newest_, job.get());
    (void)job.release();  // wait() destroys it
}

template <std::invocable<Worker&> Body>
auto Scheduler::run(const Body& body, Priority priority) {
    using Value = std::invoke_result_t<const Body&, Worker&>;
    struct Root : Job {
        explicit Root(const Body& callee_of)
            : Job([](Job& job, Worker& worker) {
                  auto& self = static_cast<Root&>(job);
                  if constexpr (std::is_void_v<Value>) {
                      self.callee(worker);
                  } else {
                      self.value.emplace(self.callee(worker));
                  }
                  complete(job);
              }),
              callee(callee_of) {}
        const Body& callee;
        std::optional<std::conditional_t<std::is_void_v<Value>, char, Value>> value;
    };
    Root root(body);
    CHECK(inject(root, priority, WhenFull::Wait));
    wait_for(root);
    if constexpr (!std::is_void_v<Value>) {
        return *std::move(root.value);
    }
}

template <std::invocable<Worker&> Body>
bool Scheduler::submit(Body body, Priority priority, WhenFull when_full) {
    struct Detached : Job {
        explicit Detached(Body held)
            : Job([](Job& job, Worker& worker) {
                  const std::unique_ptr<Detached> self(static_cast<Detached*>(&job));
                  self->callee(worker);
              }),
              callee(std::move(held)) {}
        Body callee;
    };
    auto job = std::make_unique<Detached>(std::move(body));
    if (!inject(*job, priority, when_full)) {
        return false;
    }
    (void)job.release();  // it destroys itself after it ran
    return true;
}

}  // namespace pepita::compute
