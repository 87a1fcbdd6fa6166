#include "compute/cli/progress.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "test/support/golden.h"

namespace pepita::compute::cli {
namespace {

using std::chrono::milliseconds;

/// 4 of 10 tasks ended before, 3 in this run's two seconds: one failed.
Progress some() {
    Progress progress;
    progress.tasks = 10;
    progress.before = 4;
    progress.ended = {6, 1, 0, 0};
    progress.elapsed = milliseconds(2000);
    progress.pool.workers = {{.stolen = 1, .injected = 2, .rests = 3},
                             {.stolen = 4, .injected = 5, .rests = 6}};
    progress.pool.parked = 2;
    progress.pool.queued = {0, 1, 0, 0};
    progress.pool.processes = 2;
    progress.pool.attempts = 6;
    progress.pool.retries = 1;
    progress.pool.ended = {2, 1, 0, 0};
    progress.within = {0, 1, 2, 3, 3, 3, 3, 3};
    progress.seconds = 0.5;
    return progress;
}

TEST(TaskProgress, AResultIsCountedOnceAndInEachBoundAboveIt) {
    Progress progress;
    ExecutionResult result;
    result.status = TaskStatus::TimedOut;
    result.started = TimePoint(milliseconds(1000));
    result.ended = TimePoint(milliseconds(1100));
    progress.add(result);
    EXPECT_EQ(progress.done(), 1U);
    EXPECT_EQ(progress.ended, (std::array<std::uint64_t, 4>{0, 0, 1, 0}));
    EXPECT_EQ(progress.within, (std::array<std::uint64_t, 8>{0, 0, 1, 1, 1, 1, 1, 1}));
}

TEST(TaskProgress, TheBarFitsItsLine) {
    EXPECT_EQ(bar(some(), 60), "[================        ]  7/10  1 failed  1.5/s  2 s left");
    EXPECT_EQ(bar(some(), 20), "7/10  1 failed  1.5/");
    for (std::size_t width = 0; width < 120; ++width) {
        EXPECT_LE(bar(some(), width).size(), width);
    }
    EXPECT_EQ(bar({}, 30), "[===============]  0/0  0.0/s");
}

TEST(TaskProgress, TheStatusFileIsReadAsItWasWritten) {
    const std::string text = to_json(some());
    const auto read = parse_progress(text);
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(to_json(*read), text);
    for (std::size_t length = 0; length + 1 < text.size(); ++length) {
        EXPECT_FALSE(parse_progress(text.substr(0, length))) << length;
    }
    EXPECT_FALSE(parse_progress("{}"));
}

TEST(TaskProgress, WhatIsShownIsGolden) {
    test::expect_golden("compute/progress.txt",
                        summary(some()) + "\n" + top_view(some()) + "\n" + prometheus_text(some()));
}

}  // namespace
}  // namespace pepita::compute::cli
