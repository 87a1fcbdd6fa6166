#include "compute/pool/pool_core.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "kernel-abi/sys/check.h"

namespace pepita::compute::detail {
namespace {

constexpr std::size_t kCircuitsMax = 1024;

std::chrono::microseconds to_duration(const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

TimePoint now() { return TimePoint::clock::now(); }

}  // namespace

PoolCore::PoolCore(const Pool::Options& options, std::unique_ptr<EventLoop> loop,
                   std::unique_ptr<Scheduler> scheduler)
    : options_(options),
      processes_max_(options.processes_max != 0 ? options.processes_max : scheduler->size()),
      loop_(std::move(loop)),
      random_(static_cast<std::uint64_t>(now().time_since_epoch().count())),
      budget_(options.retry_budget),
      self_(std::make_shared<PoolCore*>(this)),
      scheduler_(std::move(scheduler)) {}

Result<std::unique_ptr<PoolCore>> PoolCore::create(const Pool::Options& options) {
    auto loop = TRY(EventLoop::create());
    Scheduler::Options scheduler = options.scheduler;
    // Every admitted task has a place in the queue of its priority, so the loop does not wait.
    scheduler.queue_capacity = std::max(2U, std::bit_ceil(options.tasks_max));
    std::unique_ptr<PoolCore> core(
        new PoolCore(options, std::move(loop), TRY(Scheduler::create(scheduler))));
    core->thread_ = TRY(Thread::start(options.scheduler.name + "-pool", [core = core.get()] {
        sigset_t pipe;
        ::sigemptyset(&pipe);
        ::sigaddset(&pipe, SIGPIPE);  // a process that reads its input no more
        CHECK(::pthread_sigmask(SIG_BLOCK, &pipe, nullptr) == 0);
        CHECK(core->loop_->run().has_value());
    }));
    return core;
}

PoolCore::~PoolCore() {
    if (thread_) {
        shutdown();
    }
}

Result<void> PoolCore::admit(std::size_t count) {
    const std::scoped_lock lock(mutex_);
    if (shutting_down_) {
        return Error(Code::FailedPrecondition, "the pool has been shut down");
    }
    if (count > options_.tasks_max - admitted_) {
        return Error(Code::ResourceExhausted,
                     "the pool is full: " + std::to_string(options_.tasks_max) + " tasks");
    }
    admitted_ += count;
    return {};
}

void PoolCore::take(State state) {
    state->pool = self_;
    loop_->post([this, state = std::move(state)] { arrive(state); });
}

void PoolCore::cancel(State state) {
    loop_->post([this, state = std::move(state)] {
        state->cancel_asked = true;
        interrupt(state);
    });
}

void PoolCore::drain() {
    std::unique_lock lock(mutex_);
    none_left_.wait(lock, [&] { return admitted_ == 0; });
}

void PoolCore::shutdown() {
    {
        const std::scoped_lock lock(mutex_);
        if (std::exchange(shutting_down_, true)) {
            return;
        }
    }
    // Behind all that was taken.
    loop_->post([this] {
        const std::set<State> left = tasks_;
        for (const State& state : left) {
            state->cancel_asked = true;
            interrupt(state);
        }
    });
    drain();
    // Handles that are posting now.
    std::weak_ptr<PoolCore*> watched = self_;
    self_.reset();
    while (!watched.expired()) {
        __builtin_ia32_pause();
    }
    loop_->stop();
    thread_.join();
    scheduler_.reset();
}

std::size_t PoolCore::pending() const {
    const std::scoped_lock lock(mutex_);
    return admitted_;
}

PoolCounts PoolCore::counts() const {
    PoolCounts counts{.workers = scheduler_->counts(),
                      .parked = scheduler_->parked(),
                      .processes = counters_.processes.load(std::memory_order_relaxed),
                      .attempts = counters_.attempts.load(std::memory_order_relaxed),
                      .retries = counters_.retries.load(std::memory_order_relaxed)};
    for (std::size_t i = 0; i < kPriorities; ++i) {
        counts.queued[i] = counters_.waiting[i].load(std::memory_order_relaxed) +
                           scheduler_->queued(static_cast<Priority>(i));
    }
    for (std::size_t i = 0; i < kTaskStatuses; ++i) {
        counts.ended[i] = counters_.ended[i].load(std::memory_order_relaxed);
    }
    return counts;
}

void PoolCore::arrive(const State& state) {
    tasks_.insert(state);
    {
        const std::scoped_lock lock(mutex_);
        state->cancel_asked = shutting_down_;
    }
    if (state->cancel_asked) {
        return interrupt(state);
    }
    budget_.on_request(now());
    if (const std::optional<Duration> timeout = state->task.timeout) {
        const Duration left = state->submitted + *timeout - now();
        state->deadline = loop_->after(left, [this, weak = std::weak_ptr(state)] {
            if (const State task = weak.lock()) {
                task->timed_out = true;
                interrupt(task);
            }
        });
    }
    if (std::holds_alternative<ProcessWork>(state->task.work)) {
        enqueue_process(state);
    } else {
        begin(state);
    }
}

CircuitBreaker* PoolCore::breaker_of(const State& state) {
    const std::string& name = state->task.circuit;
    if (name.empty()) {
        return nullptr;
    }
    const auto known = breakers_.find(name);
    if (known != breakers_.end()) {
        return &known->second;
    }
    if (breakers_.size() == kCircuitsMax) {
        breakers_.clear();  // names without end: they all start anew
    }
    return &breakers_.try_emplace(name, options_.breaker, random_.next()).first->second;
}

void PoolCore::begin(const State& state) {
    if (state->stage == TaskState::Stage::Ended) {
        return;
    }
    ++state->tries;
    CircuitBreaker* breaker = breaker_of(state);
    if (breaker != nullptr && !breaker->allow(now())) {
        state->last.reason = "circuit '" + state->task.circuit + "' is open";
        return conclude(state, Permanence::MayPass);
    }
    state->stage = TaskState::Stage::Running;
    state->attempt_timed_out = false;
    state->started = now();
    ++state->attempts;
    counters_.attempts.fetch_add(1, std::memory_order_relaxed);
    if (state->attempts > 1) {
        counters_.retries.fetch_add(1, std::memory_order_relaxed);
    }
    state->last = {};
    state->stop = std::stop_source();
    if (std::holds_alternative<ProcessWork>(state->task.work)) {
        start_process(state);
    } else {
        start_function(state);
    }
}

void PoolCore::arm_attempt_deadline(const State& state) {
    if (const std::optional<Duration> timeout = state->task.attempt_timeout) {
        state->attempt_deadline = loop_->after(*timeout, [this, weak = std::weak_ptr(state)] {
            if (const State task = weak.lock()) {
                task->attempt_timed_out = true;
                interrupt(task);
            }
        });
    }
}

void PoolCore::start_function(const State& state) {
    arm_attempt_deadline(state);
    auto run = [this, state, stop = state->stop.get_token(),
                number = state->attempts](Worker& worker) {
        Result<std::string> outcome =
            stop.stop_requested() ? Result<std::string>(Error(Code::Cancelled, "it had not begun"))
                                  : std::get<FunctionWork>(state->task.work)(
                                        {.worker = worker, .number = number, .stop = stop});
        // A copy: the task may end, and this with it, before post() returns.
        loop_->post([this, task = state, outcome = std::move(outcome)]() mutable {
            on_function_end(task, std::move(outcome));
        });
    };
    // There is a place, at the latest when a worker that took from it has gone on.
    CHECK(scheduler_->submit(std::move(run), state->task.priority, WhenFull::Wait));
}

void PoolCore::on_function_end(const State& state, Result<std::string> outcome) {
    Permanence permanence = Permanence::MayPass;
    if (outcome) {
        state->last.output = *std::move(outcome);
        state->last.status = TaskStatus::Succeeded;
    } else {
        state->last.reason = outcome.error().message();
        state->last.error = outcome.error().code();
        if (outcome.error().code() == Code::InvalidArgument) {
            permanence = Permanence::Permanent;
        }
    }
    conclude(state, permanence);
}

void PoolCore::enqueue_process(const State& state) {
    const auto priority = std::to_underlying(state->task.priority);
    waiting_processes_[priority].push_back(state);
    counters_.waiting[priority].fetch_add(1, std::memory_order_relaxed);
    start_next_processes();
}

void PoolCore::start_next_processes() {
    while (counters_.processes.load(std::memory_order_relaxed) < processes_max_) {
        auto* queue = &waiting_processes_[preferred_priority(tick_)];
        if (queue->empty()) {
            queue = std::find_if(waiting_processes_.begin(), waiting_processes_.end(),
                                 [](const auto& each) { return !each.empty(); });
        }
        if (queue == waiting_processes_.end()) {
            return;
        }
        ++tick_;
        const State state = queue->front();
        queue->pop_front();
        counters_.waiting[std::to_underlying(state->task.priority)].fetch_sub(
            1, std::memory_order_relaxed);
        begin(state);
    }
}

void PoolCore::start_process(const State& state) {
    counters_.processes.fetch_add(1, std::memory_order_relaxed);
    auto started =
        ProcessRun::start(*loop_, std::get<ProcessWork>(state->task.work),
                          [this, state = state.get()](ProcessRun::Outcome outcome) {
                              on_process_end(state->shared_from_this(), std::move(outcome));
                          });
    if (!started) {
        counters_.processes.fetch_sub(1, std::memory_order_relaxed);
        state->last.reason = started.error().message();
        state->last.error = started.error().code();
        const bool passes = started.error().code() == Code::ResourceExhausted;
        return conclude(state, passes ? Permanence::MayPass : Permanence::Permanent);
    }
    state->process = *std::move(started);
    arm_attempt_deadline(state);
}

void PoolCore::on_process_end(const State& state, ProcessRun::Outcome outcome) {
    counters_.processes.fetch_sub(1, std::memory_order_relaxed);
    ExecutionResult& last = state->last;
    last.exit = outcome.exit;
    last.output = std::move(outcome.output);
    last.errors = std::move(outcome.errors);
    last.output_truncated = outcome.output_truncated;
    last.errors_truncated = outcome.errors_truncated;
    last.user_time = to_duration(outcome.usage.ru_utime);
    last.system_time = to_duration(outcome.usage.ru_stime);
    last.resident_max = Bytes(static_cast<std::uint64_t>(outcome.usage.ru_maxrss) * 1024);
    if (outcome.exit == ChildExit{}) {
        last.status = TaskStatus::Succeeded;
    } else {
        last.reason = to_string(outcome.exit);
    }
    // It is the one that calls: it goes after that.
    loop_->post([run = std::move(state->process)] {});
    conclude(state, Permanence::MayPass);
    start_next_processes();
}

void PoolCore::interrupt(const State& state) {
    switch (state->stage) {
        case TaskState::Stage::Waiting:
            end(state, state->cancel_asked ? TaskStatus::Cancelled : TaskStatus::TimedOut);
            break;
        case TaskState::Stage::Running:
            state->stop.request_stop();
            if (state->process) {
                state->process->kill();
            }
            break;
        case TaskState::Stage::Ended:
            break;
    }
}

bool PoolCore::may_retry(const State& state) const {
    return state->tries < state->task.retry.attempts &&
           (state->task.idempotent || state->attempts == 0);
}

void PoolCore::conclude(const State& state, Permanence permanence) {
    const bool began = state->stage == TaskState::Stage::Running;
    state->stage = TaskState::Stage::Waiting;
    state->attempt_deadline.cancel();
    const bool success = state->last.status == TaskStatus::Succeeded;
    CircuitBreaker* breaker = breaker_of(state);
    if (breaker != nullptr && began) {
        if (state->cancel_asked) {
            breaker->on_abandoned();
        } else {
            breaker->on_result(now(), success);
        }
    }
    if (success) {
        return end(state, TaskStatus::Succeeded);
    }
    if (state->cancel_asked) {
        return end(state, TaskStatus::Cancelled);
    }
    if (state->timed_out) {
        return end(state, TaskStatus::TimedOut);
    }
    const TaskStatus failure = state->attempt_timed_out ? TaskStatus::TimedOut : TaskStatus::Failed;
    if (permanence == Permanence::Permanent || !may_retry(state)) {
        return end(state, failure);
    }
    if (!budget_.withdraw(now())) {
        state->last.reason += "; no retry: the pool's retry budget is spent";
        return end(state, failure);
    }
    const Duration delay = state->task.retry.delay_before(state->tries + 1, random_);
    state->retry = loop_->after(delay, [this, weak = std::weak_ptr(state)] {
        const State task = weak.lock();
        if (task == nullptr || task->stage != TaskState::Stage::Waiting) {
            return;
        }
        if (std::holds_alternative<ProcessWork>(task->task.work)) {
            enqueue_process(task);
        } else {
            begin(task);
        }
    });
}

void PoolCore::end(const State& state, TaskStatus status) {
    state->stage = TaskState::Stage::Ended;
    counters_.ended[std::to_underlying(status)].fetch_add(1, std::memory_order_relaxed);
    state->deadline.cancel();
    state->attempt_deadline.cancel();
    state->retry.cancel();
    ExecutionResult result = std::move(state->last);
    result.id = state->id;
    result.status = status;
    result.backend = std::holds_alternative<ProcessWork>(state->task.work) ? Backend::Process
                                                                           : Backend::Function;
    result.attempts = state->attempts;
    result.submitted = state->submitted;
    result.started = state->started;
    result.ended = now();
    if (status == TaskStatus::TimedOut) {
        result.reason =
            state->timed_out ? "the task's timeout passed" : "the attempt's timeout passed";
    } else if (status == TaskStatus::Cancelled) {
        result.reason = "it was cancelled";
    }
    std::vector<TaskHandle::Callback> callbacks;
    {
        const std::scoped_lock lock(state->mutex);
        state->result = std::make_unique<const ExecutionResult>(std::move(result));
        callbacks.swap(state->callbacks);
        state->ended.notify_all();
    }
    for (auto& callback : callbacks) {
        callback(*state->result);
    }
    tasks_.erase(state);
    const std::scoped_lock lock(mutex_);
    --admitted_;
    if (admitted_ == 0) {
        none_left_.notify_all();
    }
}

}  // namespace pepita::compute::detail
