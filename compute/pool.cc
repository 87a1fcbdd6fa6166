#include "compute/pool.h"

#include <sched.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "compute/pool/pool_core.h"
#include "compute/pool/task_state.h"
#include "kernel-abi/sys/check.h"

namespace pepita::compute {
namespace {

TaskId new_id() {
    TaskId id;
    CHECK(::getrandom(&id.bits, sizeof id.bits, 0) == sizeof id.bits);
    return id;
}

constexpr int kNiceMin = -20;
constexpr int kNiceMax = 19;

bool has_nul(const std::string& text) { return text.find('\0') != std::string::npos; }

Result<void> check_process(const ProcessWork& work) {
    if (work.binary.empty()) {
        return Error(Code::InvalidArgument, "a task without a binary");
    }
    bool nul = has_nul(work.binary) || has_nul(work.directory);
    for (const auto* list : {&work.arguments, &work.environment}) {
        nul = nul || std::any_of(list->begin(), list->end(), has_nul);
    }
    if (nul) {
        return Error(Code::InvalidArgument, "task '" + work.binary + "': a text with a zero byte");
    }
    if (work.streams == ProcessWork::Streams::Inherited && !work.input.empty()) {
        return Error(Code::InvalidArgument,
                     "task '" + work.binary + "': an input beside this process's own");
    }
    if (work.nice < kNiceMin || work.nice > kNiceMax) {
        return Error(Code::InvalidArgument, "task '" + work.binary + "': nice is -20 to 19");
    }
    const auto& processors = work.limits.processors;
    if (std::any_of(processors.begin(), processors.end(),
                    [](std::size_t processor) { return processor >= CPU_SETSIZE; })) {
        return Error(Code::InvalidArgument, "task '" + work.binary + "': a processor beyond " +
                                                std::to_string(CPU_SETSIZE - 1));
    }
    return {};
}

Result<void> check_task(const Task& task) {
    for (const auto& time : {task.timeout, task.attempt_timeout}) {
        if (time && *time <= Duration::zero()) {
            return Error(Code::InvalidArgument, "a task's timeout must be more than 0");
        }
    }
    if (task.retry.attempts == 0 || task.retry.attempts > RetryPolicy::kAttemptsMax) {
        return Error(Code::InvalidArgument, "a task of " + std::to_string(task.retry.attempts) +
                                                " attempts: 1 to " +
                                                std::to_string(RetryPolicy::kAttemptsMax));
    }
    if (task.retry.base < Duration::zero() || task.retry.cap < Duration::zero() ||
        std::clamp(task.retry.factor, 1.0, 100.0) != task.retry.factor) {
        return Error(Code::InvalidArgument, "a task's waits between attempts are out of range");
    }
    if (const auto* process = std::get_if<ProcessWork>(&task.work)) {
        return check_process(*process);
    }
    if (!std::get<FunctionWork>(task.work)) {
        return Error(Code::InvalidArgument, "a task without a function");
    }
    return {};
}

}  // namespace

std::string to_string(const TaskId& id) {
    std::string text;
    for (const std::uint64_t half : id.bits) {
        for (unsigned shift = 64; shift != 0; shift -= 4) {
            text.push_back("0123456789abcdef"[(half >> (shift - 4)) & 15U]);
        }
    }
    return text;
}

const TaskId& TaskHandle::id() const { return state_->id; }

const ExecutionResult& TaskHandle::wait() const {
    std::unique_lock lock(state_->mutex);
    state_->ended.wait(lock, [&] { return state_->result != nullptr; });
    return *state_->result;
}

const ExecutionResult* TaskHandle::poll() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->result.get();
}

void TaskHandle::cancel() const {
    // While it is locked, the pool's destructor waits.
    if (const auto pool = state_->pool.lock()) {
        (*pool)->cancel(state_);
    }
}

void TaskHandle::on_end(Callback callback) const {
    {
        const std::scoped_lock lock(state_->mutex);
        if (state_->result == nullptr) {
            state_->callbacks.push_back(std::move(callback));
            return;
        }
    }
    callback(*state_->result);
}

Pool::Pool(std::unique_ptr<detail::PoolCore> core) : core_(std::move(core)) {}

Result<std::unique_ptr<Pool>> Pool::create(const Options& options) {
    if (options.tasks_max == 0 || options.tasks_max > Options::kTasksMax) {
        return Error(Code::InvalidArgument, "a pool of " + std::to_string(options.tasks_max) +
                                                " tasks: 1 to " +
                                                std::to_string(Options::kTasksMax));
    }
    auto core = TRY(detail::PoolCore::create(options));
    return std::unique_ptr<Pool>(new Pool(std::move(core)));
}

Pool::~Pool() { shutdown(); }

Result<TaskHandle> Pool::submit(Task task) {
    std::vector<Task> one;
    one.push_back(std::move(task));
    std::vector<TaskHandle> handles = TRY(submit_batch(std::move(one)));
    return std::move(handles.front());
}

Result<std::vector<TaskHandle>> Pool::submit_batch(std::vector<Task> tasks) {
    for (const Task& task : tasks) {
        TRY(check_task(task));
    }
    TRY(core_->admit(tasks.size()));
    std::vector<TaskHandle> handles;
    handles.reserve(tasks.size());
    const TimePoint now = TimePoint::clock::now();
    for (Task& task : tasks) {
        auto state = std::make_shared<detail::TaskState>();
        state->task = std::move(task);
        state->id = new_id();
        state->submitted = now;
        core_->take(state);
        handles.push_back(TaskHandle(std::move(state)));
    }
    return handles;
}

void Pool::when_all(const std::vector<TaskHandle>& tasks,
                    std::move_only_function<void()> callback) {
    if (tasks.empty()) {
        callback();
        return;
    }
    struct Rest {
        std::atomic<std::size_t> count;
        std::move_only_function<void()> callback;
    };
    // Shared by the tasks' callbacks: whichever runs last is the last owner.
    const auto rest = std::make_shared<Rest>();
    rest->count.store(tasks.size(), std::memory_order_relaxed);
    rest->callback = std::move(callback);
    for (const TaskHandle& task : tasks) {
        task.on_end([rest](const ExecutionResult&) {
            if (rest->count.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                rest->callback();
            }
        });
    }
}

void Pool::drain() { core_->drain(); }
void Pool::shutdown() { core_->shutdown(); }
std::size_t Pool::pending() const { return core_->pending(); }
PoolCounts Pool::counts() const { return core_->counts(); }

}  // namespace pepita::compute
