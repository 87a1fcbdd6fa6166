#include "compute/scheduler.h"

#include <sched.h>

#include <bit>
#include <cerrno>

namespace pepita::compute {
namespace {

constexpr std::uint32_t kJobsMax = 8192;  // that a worker spawned and has not joined
constexpr int kLooksBeforeSleep = 2000;   // about 20 µs
constexpr int kLooksPerPause = 16;
// Jobs::done_
constexpr std::uint32_t kPending = 0;
constexpr std::uint32_t kDone = 1;
constexpr std::uint32_t kWaitedFor = 2;

/// Raises a counter that one thread writes and any may read.
void raise(std::atomic<std::uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

/// The half of this thread's stack that helping may use begins here.
std::uintptr_t middle_of_stack() {
    pthread_attr_t attributes;
    CHECK(::pthread_getattr_np(::pthread_self(), &attributes) == 0);
    void* lowest = nullptr;
    std::size_t size = 0;
    CHECK(::pthread_attr_getstack(&attributes, &lowest, &size) == 0);
    CHECK(::pthread_attr_destroy(&attributes) == 0);
    // SAFETY: only compared with the addresses of frames.
    return reinterpret_cast<std::uintptr_t>(lowest) + size / 2;
}

std::vector<std::size_t> usable_processors() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<std::size_t> processors;
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        for (std::size_t i = 0; i < CPU_SETSIZE; ++i) {
            if (CPU_ISSET(i, &set)) {
                processors.push_back(i);
            }
        }
    }
    if (processors.empty()) {
        processors.push_back(0);
    }
    return processors;
}

Result<void> pin_to(std::size_t processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) {
        return Error::from_errno(errno, "bind a worker to a processor");
    }
    return {};
}

}  // namespace

std::size_t preferred_priority(std::uint32_t tick) {
    if (tick % 64 == 63) {
        return std::to_underlying(Priority::Idle);
    }
    if (tick % 16 == 15) {
        return std::to_underlying(Priority::Low);
    }
    return std::to_underlying(tick % 4 == 3 ? Priority::Normal : Priority::High);
}

Worker::Worker(Scheduler& scheduler, std::uint32_t index)
    : scheduler_(scheduler),
      index_(index),
      has_peers_(scheduler.size_ > 1 && index < scheduler.size_),
      victim_(index),
      deque_(index < scheduler.size_ ? kJobsMax : 0) {}

void Worker::share() {
    if (deque_.share() && has_peers_) {
        wake_thief();
    }
}

bool Worker::push_shared(Job& job) {
    if (!deque_.push(&job)) {
        return false;
    }
    if (has_peers_ && deque_.share_all()) {
        wake_thief();
    }
    return true;
}

void Worker::wake_thief() {
    if (!scheduler_.idle_.wake_one()) {
        scheduler_.joiners_.wake_one();
    } else if (scheduler_.idle_.any()) {
        deque_.request();  // the next push wakes another
    }
}

void Worker::await_stolen(Job& job) {
    while (job.done_.load(std::memory_order_acquire) != kDone) {
        if (!may_help()) {
            Scheduler::wait_for(job);
        } else if (!run_stolen()) {
            rest(&job);
        }
    }
    deque_.retract();
}

bool Worker::may_help() const {
    // SAFETY: only compared with the stack's bounds.
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) > stack_limit_;
}

bool Worker::run_stolen() {
    const std::uint32_t count = scheduler_.size();
    for (std::uint32_t looked = 1; looked < count; ++looked) {
        if (victim_ == index_) {
            victim_ = (victim_ + 1) % count;
        }
        Worker& victim = *scheduler_.workers_[victim_];
        Job* job = victim.deque_.steal();
        if (job == nullptr) {
            victim_ = (victim_ + 1) % count;
            continue;
        }
        raise(stolen_);
        // Others still sleep: this thief's find may not have been all.
        if (scheduler_.idle_.any() &&
            !(victim.deque_.has_shared() && scheduler_.idle_.wake_one())) {
            victim.deque_.request();
        }
        job->run(*this);
        const std::uint32_t owner = victim.index_;
        Scheduler::complete(*job);  // the job may be destroyed now
        scheduler_.joiners_.wake(owner);
        return true;
    }
    return false;
}

bool Worker::run_injected() {
    Job* job = scheduler_.next_injected(tick_++);
    if (job == nullptr) {
        return false;
    }
    raise(injected_);
    job->run(*this);
    return true;
}

bool Worker::is_work_in_sight(const Job* awaited) const {
    if (awaited != nullptr ? awaited->done_.load(std::memory_order_seq_cst) == kDone
                           : scheduler_.is_any_queued() || scheduler_.stopping_.load() != 0) {
        return true;
    }
    for (const auto& peer : scheduler_.workers_) {
        if (peer->index_ != index_ && peer->deque_.has_shared()) {
            return true;
        }
    }
    return false;
}

void Worker::rest(const Job* awaited) {
    for (int looks = 0; looks < kLooksBeforeSleep; looks += kLooksPerPause) {
        if (is_work_in_sight(awaited)) {
            return;
        }
        for (const auto& peer : scheduler_.workers_) {
            if (peer->index_ != index_) {
                peer->deque_.request();
            }
        }
        for (int i = 0; i < kLooksPerPause; ++i) {
            __builtin_ia32_pause();
        }
    }
    Sleepers<>& sleepers = awaited != nullptr ? scheduler_.joiners_ : scheduler_.idle_;
    sleepers.announce(index_);
    for (const auto& peer : scheduler_.workers_) {
        if (peer->index_ != index_) {
            peer->deque_.request();
        }
    }
    if (!is_work_in_sight(awaited)) {
        raise(rests_);
        sleepers.await_wake(index_);
    } else if (sleepers.withdraw(index_)) {
        sleepers.wake_one();
    }
}

void Worker::run_until_stopped() {
    thread_ = ::pthread_self();
    stack_limit_ = middle_of_stack();
    while (true) {
        const bool steal_first = tick_ % 2 == 0;
        if ((steal_first && run_stolen()) || run_injected() || (!steal_first && run_stolen())) {
            continue;
        }
        if (scheduler_.stopping_.load(std::memory_order_acquire) != 0 &&
            !scheduler_.is_any_queued()) {
            return;
        }
        rest(nullptr);
    }
}

void Scope::wait() {
    while (Spawned* job = newest_) {
        newest_ = job->below;
        if (worker_.pop()) {
            job->run(worker_);
        } else {
            worker_.await_stolen(*job);
        }
        job->destroy(job);
    }
}

Scheduler::Scheduler(const Options& options, std::uint32_t size)
    : size_(size), room_(options.queue_capacity / 2) {
    for (auto& lane : lanes_) {
        lane = std::make_unique<Lane>(options.queue_capacity);
    }
    for (std::uint32_t i = 0; i < size_; ++i) {
        workers_.push_back(std::unique_ptr<Worker>(new Worker(*this, i)));
    }
}

Result<std::unique_ptr<Scheduler>> Scheduler::create(const Options& options) {
    if (options.workers > Options::kWorkersMax) {
        return Error(Code::InvalidArgument, "a scheduler of " + std::to_string(options.workers) +
                                                " workers: at most " +
                                                std::to_string(Options::kWorkersMax));
    }
    if (!std::has_single_bit(options.queue_capacity) || options.queue_capacity < 2) {
        return Error(Code::InvalidArgument, "a queue of " + std::to_string(options.queue_capacity) +
                                                ": it must be a power of two, at least 2");
    }
    const std::vector<std::size_t> processors = usable_processors();
    const auto size = options.workers != 0 ? options.workers
                                           : std::min(static_cast<std::uint32_t>(processors.size()),
                                                      Options::kWorkersMax);
    std::unique_ptr<Scheduler> scheduler(new Scheduler(options, size));
    for (std::uint32_t i = 0; i < size; ++i) {
        const std::string name = options.name + '-' + std::to_string(i);
        std::optional<std::size_t> processor;
        if (options.pinning == Options::Pinning::OnePerProcessor) {
            processor = processors[i % processors.size()];
        }
        Thread thread = TRY(Thread::start(name, [&worker = *scheduler->workers_[i], processor] {
            // A processor that went offline meanwhile: the worker runs unbound.
            if (processor) {
                (void)pin_to(*processor);
            }
            worker.run_until_stopped();
        }));
        scheduler->threads_.push_back(std::move(thread));
    }
    return scheduler;
}

Scheduler::~Scheduler() {
    stopping_.store(1, std::memory_order_seq_cst);
    for (std::uint32_t i = 0; i < size(); ++i) {
        idle_.wake(i);
    }
    threads_.clear();
    // Submitted while the last worker was ending, or no thread could be started.
    Worker last(*this, size_);
    for (std::uint32_t tick = 0; Job* job = next_injected(tick); ++tick) {
        job->run(last);
    }
}

Job* Scheduler::next_injected(std::uint32_t tick) {
    Job* job = pop_from(*lanes_[preferred_priority(tick)]);
    for (std::size_t i = 0; i < kPriorities && job == nullptr; ++i) {
        job = pop_from(*lanes_[i]);
    }
    return job;
}

Job* Scheduler::pop_from(Lane& lane) {
    Job* job = lane.queue.pop();
    // A producer waits because the lane was full after it had counted itself, so the pops that lead
    // down to half of that see it. At half, because a wake-up costs more than a job.
    if (job != nullptr && lane.waiting.load(std::memory_order_seq_cst) != 0 &&
        lane.queue.size() <= room_) {
        lane.epoch.fetch_add(1, std::memory_order_seq_cst);
        HardwareAtomics::wake(lane.epoch);
    }
    return job;
}

bool Scheduler::is_any_queued() const {
    for (const auto& lane : lanes_) {
        if (lane->queue.is_ready()) {
            return true;
        }
    }
    return false;
}

bool Scheduler::inject(Job& job, Priority priority, WhenFull when_full) {
    Lane& lane = *lanes_[std::to_underlying(priority)];
    if (!lane.queue.push(&job)) [[unlikely]] {
        if (when_full == WhenFull::Refuse) {
            return false;
        }
        if (when_full == WhenFull::RunHere) {
            Worker here(*this, size_);
            here.thread_ = ::pthread_self();
            job.run(here);
            return true;
        }
        lane.waiting.fetch_add(1, std::memory_order_seq_cst);
        while (true) {
            const std::uint32_t epoch = lane.epoch.load(std::memory_order_seq_cst);
            if (lane.queue.push(&job)) {
                break;
            }
            HardwareAtomics::wait(lane.epoch, epoch);
        }
        lane.waiting.fetch_sub(1, std::memory_order_relaxed);
    }
    idle_.wake_one();
    return true;
}

void Scheduler::wait_for(Job& job) {
    for (int looks = 0; looks < kLooksBeforeSleep; ++looks) {
        if (job.done_.load(std::memory_order_acquire) == kDone) {
            return;
        }
        __builtin_ia32_pause();
    }
    std::uint32_t state = kPending;
    job.done_.compare_exchange_strong(state, kWaitedFor, std::memory_order_acq_rel);
    while (job.done_.load(std::memory_order_acquire) != kDone) {
        HardwareAtomics::wait(job.done_, kWaitedFor);
    }
}

void Scheduler::complete(Job& job) {
    std::atomic<std::uint32_t>& done = job.done_;
    if (done.exchange(kDone, std::memory_order_seq_cst) == kWaitedFor) {
        HardwareAtomics::wake(done);
    }
}

std::vector<WorkerCounts> Scheduler::counts() const {
    std::vector<WorkerCounts> counts;
    counts.reserve(workers_.size());
    for (const auto& worker : workers_) {
        counts.push_back({.stolen = worker->stolen_.load(std::memory_order_relaxed),
                          .injected = worker->injected_.load(std::memory_order_relaxed),
                          .rests = worker->rests_.load(std::memory_order_relaxed)});
    }
    return counts;
}

}  // namespace pepita::compute
