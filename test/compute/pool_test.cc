#include "compute/pool.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <semaphore>
#include <string>
#include <utility>

#include "test/support/open_descriptors.h"

namespace pepita::compute {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::unique_ptr<Pool> make(Pool::Options options = {.scheduler = {.workers = 2}}) {
    auto pool = Pool::create(options);
    EXPECT_TRUE(pool);
    return *std::move(pool);
}

Task function(FunctionWork work) { return {.work = std::move(work)}; }
Task shell(std::string script) {
    return {.work = ProcessWork{.binary = "/bin/sh", .arguments = {"-c", std::move(script)}}};
}

ExecutionResult run(Task task) {
    const auto pool = make();
    auto handle = pool->submit(std::move(task));
    EXPECT_TRUE(handle);
    return handle->wait();
}

/// Fails so often, then succeeds.
Task flaky(std::atomic<int>& failures_left) {
    Task task = function([&](const Attempt& attempt) -> Result<std::string> {
        if (failures_left.fetch_sub(1) > 0) {
            return Error(Code::Unavailable, "not yet");
        }
        return "attempt " + std::to_string(attempt.number);
    });
    task.retry.base = milliseconds(1);
    return task;
}

TEST(Pool, AFunctionReturnsItsOutput) {
    const ExecutionResult result =
        run(function([](const Attempt&) -> Result<std::string> { return "42"; }));
    EXPECT_EQ(result.status, TaskStatus::Succeeded);
    EXPECT_EQ(result.output, "42");
    EXPECT_EQ(result.attempts, 1U);
    EXPECT_EQ(result.backend, Backend::Function);
    EXPECT_LE(result.submitted, result.started);
    EXPECT_LE(result.started, result.ended);
}

TEST(Pool, AFunctionForksOnItsWorker) {
    const ExecutionResult result = run(function([](const Attempt& attempt) -> Result<std::string> {
        const int sum = attempt.worker.parallel_reduce<int>(
            0, 1000, 10, [](std::size_t first, std::size_t last) { return int(last - first); },
            [](int a, int b) { return a + b; });
        return std::to_string(sum);
    }));
    EXPECT_EQ(result.output, "1000");
}

TEST(Pool, RetriesAnIdempotentTask) {
    std::atomic<int> failures = 2;
    Task task = flaky(failures);
    task.idempotent = true;
    const ExecutionResult result = run(std::move(task));
    EXPECT_EQ(result.status, TaskStatus::Succeeded);
    EXPECT_EQ(result.output, "attempt 3");
    EXPECT_EQ(result.attempts, 3U);
}

TEST(Pool, DoesNotRepeatWhatMayNotBeRepeated) {
    std::atomic<int> failures = 2;
    const ExecutionResult result = run(flaky(failures));
    EXPECT_EQ(result.status, TaskStatus::Failed);
    EXPECT_EQ(result.reason, "not yet");
    EXPECT_EQ(result.attempts, 1U);
}

TEST(Pool, GivesUpAfterTheLastAttempt) {
    std::atomic<int> failures = 100;
    Task task = flaky(failures);
    task.idempotent = true;
    task.retry.attempts = 5;
    EXPECT_EQ(run(std::move(task)).attempts, 5U);
    EXPECT_EQ(failures.load(), 95);
}

TEST(Pool, RetriesStayWithinTheBudget) {
    const auto pool =
        make({.scheduler = {.workers = 2}, .retry_budget = {.ratio = 0.1, .per_second = 1}});
    std::atomic<int> attempts = 0;
    std::vector<Task> tasks;
    for (int i = 0; i < 200; ++i) {
        Task task = function([&](const Attempt&) -> Result<std::string> {
            attempts.fetch_add(1);
            return Error(Code::Unavailable, "down");
        });
        task.idempotent = true;
        task.retry = {.attempts = 3, .base = milliseconds(1)};
        tasks.push_back(std::move(task));
    }
    ASSERT_TRUE(pool->submit_batch(std::move(tasks)));
    pool->drain();
    EXPECT_GE(attempts.load(), 200 + 10);
    EXPECT_LE(attempts.load(), 200 + 20);
}

TEST(Pool, AnOpenCircuitRefusesTasks) {
    const auto pool = make();
    for (int i = 0; i < 20; ++i) {
        Task task = function(
            [](const Attempt&) -> Result<std::string> { return Error(Code::Unavailable, "down"); });
        task.circuit = "store";
        pool->submit(std::move(task))->wait();
    }
    Task task = function([](const Attempt&) -> Result<std::string> { return "up"; });
    task.circuit = "store";
    task.retry.attempts = 1;
    const ExecutionResult result = pool->submit(std::move(task))->wait();
    EXPECT_EQ(result.status, TaskStatus::Failed);
    EXPECT_EQ(result.reason, "circuit 'store' is open");
    EXPECT_EQ(result.attempts, 0U);
}

TEST(Pool, ATimeoutCoversAllAttempts) {
    Task task = function(
        [](const Attempt&) -> Result<std::string> { return Error(Code::Unavailable, "down"); });
    task.idempotent = true;
    task.timeout = milliseconds(50);
    task.retry = {.attempts = 100, .base = seconds(1000), .cap = seconds(1000)};
    const ExecutionResult result = run(std::move(task));
    EXPECT_EQ(result.status, TaskStatus::TimedOut);
    EXPECT_LT(result.ended - result.submitted, seconds(20));
}

TEST(Pool, AFunctionSeesItsTimeout) {
    Task task = function([](const Attempt& attempt) -> Result<std::string> {
        std::binary_semaphore stopped(0);
        const std::stop_callback on_stop(attempt.stop, [&] { stopped.release(); });
        stopped.acquire();
        return Error(Code::Cancelled, "stopped");
    });
    task.timeout = milliseconds(20);
    EXPECT_EQ(run(std::move(task)).status, TaskStatus::TimedOut);
}

TEST(Pool, CancelsWhatWaitsAndWhatRuns) {
    const auto pool = make({.scheduler = {.workers = 1}, .processes_max = 1});
    auto running = pool->submit(shell("echo started; exec sleep 1000"));
    auto waiting = pool->submit(shell("echo never"));
    waiting->cancel();
    EXPECT_EQ(waiting->wait().status, TaskStatus::Cancelled);
    EXPECT_EQ(waiting->wait().attempts, 0U);
    running->cancel();
    EXPECT_EQ(running->wait().status, TaskStatus::Cancelled);
    running->cancel();
}

TEST(Pool, ShutdownEndsWhatIsLeft) {
    auto pool = make();
    auto handle = pool->submit(shell("exec sleep 1000"));
    pool->shutdown();
    EXPECT_EQ(handle->wait().status, TaskStatus::Cancelled);
    EXPECT_EQ(pool->submit(shell("true")).error().code(), Code::FailedPrecondition);
    pool.reset();
    handle->cancel();
    EXPECT_EQ(handle->poll()->status, TaskStatus::Cancelled);
}

TEST(Pool, RefusesMoreThanItHolds) {
    const auto pool = make({.scheduler = {.workers = 1}, .tasks_max = 2});
    std::vector<Task> three;
    for (int i = 0; i < 3; ++i) {
        three.push_back(shell("true"));
    }
    EXPECT_EQ(pool->submit_batch(std::move(three)).error().code(), Code::ResourceExhausted);
    EXPECT_EQ(pool->pending(), 0U);
    EXPECT_TRUE(pool->submit(shell("true")));
}

TEST(Pool, CallsBackAfterAllHaveEnded) {
    const auto pool = make();
    std::vector<Task> tasks;
    for (int i = 0; i < 20; ++i) {
        tasks.push_back(shell("exit " + std::to_string(i)));
    }
    auto handles = pool->submit_batch(std::move(tasks));
    ASSERT_TRUE(handles);
    std::binary_semaphore done(0);
    Pool::when_all(*handles, [&] { done.release(); });
    done.acquire();
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ((*handles)[static_cast<std::size_t>(i)].poll()->exit->value, i);
    }
}

TEST(Pool, RefusesTasksThatCanNeverRun) {
    const auto pool = make();
    Task zero = shell("true");
    zero.timeout = Duration::zero();
    EXPECT_EQ(pool->submit(std::move(zero)).error().code(), Code::InvalidArgument);
    Task never = shell("true");
    never.retry.attempts = 0;
    EXPECT_EQ(pool->submit(std::move(never)).error().code(), Code::InvalidArgument);
    EXPECT_EQ(pool->submit(function(nullptr)).error().code(), Code::InvalidArgument);
    EXPECT_EQ(pool->submit({.work = ProcessWork{}}).error().code(), Code::InvalidArgument);
    EXPECT_EQ(pool->submit({.work = ProcessWork{.binary = std::string("a\0b", 3)}}).error().code(),
              Code::InvalidArgument);
    EXPECT_EQ(Pool::create({.tasks_max = 0}).error().code(), Code::InvalidArgument);
}

TEST(PoolProcess, HasArgumentsEnvironmentDirectoryAndInput) {
    const ExecutionResult result =
        run({.work = ProcessWork{
                 .binary = "sh",
                 .arguments = {"-c", "cat; echo \"$0 $A $(pwd)\"; echo oops >&2; exit 3", "zero"},
                 .environment = {"A=b", "PATH=/usr/bin:/bin"},
                 .directory = "/usr",
                 .input = "in\n"}});
    EXPECT_EQ(result.status, TaskStatus::Failed);
    EXPECT_EQ(result.exit->value, 3);
    EXPECT_EQ(result.reason, "exit status 3");
    EXPECT_EQ(result.output, "in\nzero b /usr\n");
    EXPECT_EQ(result.errors, "oops\n");
    EXPECT_GT(result.resident_max, Bytes(0));
}

TEST(PoolProcess, SaysWhyItDidNotStart) {
    const ExecutionResult missing = run({.work = ProcessWork{.binary = "/no/such"}});
    EXPECT_EQ(missing.status, TaskStatus::Failed);
    EXPECT_EQ(missing.reason, "execute '/no/such': No such file or directory (ENOENT)");
    EXPECT_EQ(run({.work = ProcessWork{.binary = "/etc/passwd"}}).reason,
              "execute '/etc/passwd': Permission denied (EACCES)");
    EXPECT_EQ(run({.work = ProcessWork{.binary = "/bin/true", .directory = "/no/where"}}).reason,
              "working directory '/no/where': No such file or directory (ENOENT)");
}

TEST(PoolProcess, OutputIsBounded) {
    Task task = shell("head -c 3000000 /dev/zero; echo more >&2");
    std::get<ProcessWork>(task.work).limits.output = Bytes(1000);
    const ExecutionResult result = run(std::move(task));
    EXPECT_EQ(result.status, TaskStatus::Succeeded);
    EXPECT_EQ(result.output.size(), 1000U);
    EXPECT_TRUE(result.output_truncated);
    EXPECT_EQ(result.errors, "more\n");
    EXPECT_FALSE(result.errors_truncated);
}

TEST(PoolProcess, LimitsHold) {
    Task task = shell("ulimit -v; ulimit -t; ulimit -n");
    std::get<ProcessWork>(task.work).limits = {
        .address_space = 100_MiB, .cpu_time = seconds(7), .open_files = 33};
    EXPECT_EQ(run(std::move(task)).output, "102400\n7\n33\n");
}

TEST(PoolProcess, ATimeoutEndsTheWholeGroup) {
    Task task = shell("sleep 1000 & echo $!; wait");
    task.timeout = milliseconds(300);
    const ExecutionResult result = run(std::move(task));
    EXPECT_EQ(result.status, TaskStatus::TimedOut);
    EXPECT_EQ(result.exit, (ChildExit{.by_signal = true, .value = SIGKILL}));
    const pid_t grandchild = static_cast<pid_t>(std::atol(result.output.c_str()));
    ASSERT_GT(grandchild, 0);
    // Killed, and reaped by whoever adopted it, or about to be.
    for (int i = 0; i < 1000; ++i) {
        if (::kill(grandchild, 0) != 0) {
            break;
        }
        std::string state;
        FILE* stat = ::fopen(("/proc/" + std::to_string(grandchild) + "/stat").c_str(), "r");
        char letter = 'X';
        if (stat != nullptr) {
            EXPECT_GE(::fscanf(stat, "%*d %*s %c", &letter), 0);
            ::fclose(stat);
        }
        if (letter == 'Z' || letter == 'X') {
            break;
        }
        ASSERT_LT(i, 999);
        const timespec pause{.tv_sec = 0, .tv_nsec = 5'000'000};
        ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
    }
}

TEST(PoolProcess, WhatItLeavesBehindDoesNotHoldTheResult) {
    EXPECT_EQ(run(shell("sleep 1000 & echo done")).output, "done\n");
}

TEST(PoolProcess, AnAttemptThatHangsIsRepeated) {
    Task task = shell("exec sleep 1000");
    task.idempotent = true;
    task.attempt_timeout = milliseconds(50);
    task.retry = {.attempts = 2, .base = milliseconds(1)};
    const ExecutionResult result = run(std::move(task));
    EXPECT_EQ(result.status, TaskStatus::TimedOut);
    EXPECT_EQ(result.attempts, 2U);
    EXPECT_EQ(result.reason, "the attempt's timeout passed");
}

TEST(PoolProcess, ANonReaderDoesNotEndUs) {
    Task task = shell("exit 0");
    std::get<ProcessWork>(task.work).input = std::string(1 << 20, 'x');
    EXPECT_EQ(run(std::move(task)).status, TaskStatus::Succeeded);
}

TEST(PoolProcess, LeavesNothingOpenAndNoZombie) {
    const std::size_t before = open_descriptors();
    {
        const auto pool = make();
        for (int i = 0; i < 50; ++i) {
            ASSERT_TRUE(pool->submit(shell("cat")));
            ASSERT_TRUE(pool->submit({.work = ProcessWork{.binary = "/no/such"}}));
        }
        pool->drain();
    }
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

TEST(Pool, AProcessMayHaveOurStreams) {
    Task task = shell("exit 4");
    std::get<ProcessWork>(task.work).streams = ProcessWork::Streams::Inherited;
    const ExecutionResult result = run(std::move(task));
    EXPECT_EQ(result.exit, (ChildExit{.by_signal = false, .value = 4}));
    EXPECT_EQ(result.output, "");

    const auto pool = make();
    Task both = shell("cat");
    std::get<ProcessWork>(both.work).streams = ProcessWork::Streams::Inherited;
    std::get<ProcessWork>(both.work).input = "x";
    EXPECT_FALSE(pool->submit(std::move(both)));
}

TEST(Pool, AProcessIsAsNiceAsItsTask) {
    Task task = shell("nice");
    std::get<ProcessWork>(task.work).environment = {"PATH=/usr/bin:/bin"};
    std::get<ProcessWork>(task.work).nice = 19;
    EXPECT_EQ(run(std::move(task)).output, "19\n");
    const auto pool = make();
    Task impossible = shell("true");
    std::get<ProcessWork>(impossible.work).nice = 20;
    EXPECT_FALSE(pool->submit(std::move(impossible)));
}

TEST(Pool, SaysWhatKindOfFailureKeptAProgramFromBeginning) {
    EXPECT_EQ(run({.work = ProcessWork{.binary = "/no/such"}}).error, Code::NotFound);
    EXPECT_EQ(run({.work = ProcessWork{.binary = "/etc/passwd"}}).error, Code::PermissionDenied);
    EXPECT_EQ(run(shell("exit 1")).error, std::nullopt);
}

TEST(Pool, CountsWhatItDid) {
    const auto pool = make();
    std::atomic<int> failures_left = 1;
    Task task = flaky(failures_left);
    task.idempotent = true;
    ASSERT_TRUE(pool->submit(std::move(task)));
    ASSERT_TRUE(pool->submit(shell("exit 1")));
    pool->drain();
    const PoolCounts counts = pool->counts();
    EXPECT_EQ(counts.attempts, 3U);
    EXPECT_EQ(counts.retries, 1U);
    EXPECT_EQ(counts.processes, 0U);
    EXPECT_EQ(counts.ended, (std::array<std::uint64_t, kTaskStatuses>{1, 1, 0, 0}));
    EXPECT_EQ(counts.queued, (std::array<std::uint64_t, kPriorities>{}));
    ASSERT_EQ(counts.workers.size(), 2U);
    EXPECT_EQ(counts.workers[0].injected + counts.workers[1].injected, 2U);
}

}  // namespace
}  // namespace pepita::compute
