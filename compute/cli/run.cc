#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "compute/cli/command_line.h"
#include "compute/cli/interrupts.h"
#include "compute/cli/progress.h"
#include "compute/cli/task_file.h"
#include "compute/cli/task_result.h"
#include "compute/cli/trace.h"
#include "compute/cli/verbs.h"
#include "compute/pool.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {
namespace {

constexpr mode_t kReadable = 0644;
constexpr int kSignalled = 128;

Result<void> write_reports(const Command& command, const Pool& pool, TimePoint begin,
                           const ExecutionResult& result) {
    if (!command.metrics.empty()) {
        Progress progress{.tasks = 1, .pool = pool.counts()};
        progress.elapsed =
            std::chrono::duration_cast<std::chrono::milliseconds>(result.ended - begin);
        progress.add(result);
        TRY(replace_file(FdRef(AT_FDCWD), command.metrics, prometheus_text(progress), kReadable));
    }
    if (!command.trace.empty()) {
        Trace trace(begin);
        trace.add({.line = 1, .name = {}, .command = command.words, .input = {}, .options = {}},
                  result);
        TRY(replace_file(FdRef(AT_FDCWD), command.trace, trace.json(), kReadable));
    }
    return {};
}

}  // namespace

Result<int> run(const Command& command) {
    const auto loop = TRY(EventLoop::create());
    int signalled = 0;
    std::optional<TaskHandle> handle;
    const auto interrupts = TRY(Interrupts::create(*loop, [&](int signal) {
        signalled = signal;
        if (handle) {
            handle->cancel();
        }
    }));
    const TimePoint begin = TimePoint::clock::now();
    Pool::Options options{.scheduler = {.workers = 1}, .tasks_max = 1};
    options.retry_budget.per_second = RetryPolicy::kAttemptsMax;  // the command line has its limit
    const auto pool = TRY(Pool::create(options));
    handle = TRY(
        pool->submit(make_task(command.words, command.task, ProcessWork::Streams::Inherited, "")));
    handle->on_end([&loop](const ExecutionResult&) { loop->stop(); });
    TRY(loop->run());
    pool->drain();
    const ExecutionResult& result = handle->wait();
    TRY(write_reports(command, *pool, begin, result));
    if (result.status == TaskStatus::Cancelled) {
        return kSignalled + signalled;
    }
    if (result.status == TaskStatus::TimedOut || !result.exit) {
        const std::string line =
            "pepita: task run '" + command.words.front() + "': " + result.reason + "\n";
        TRY(write_all(FdRef(STDERR_FILENO), line, "standard error"));
    }
    return exit_status(result);
}

}  // namespace pepita::compute::cli
