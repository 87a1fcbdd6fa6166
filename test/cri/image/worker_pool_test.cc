#include "cri/image/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <latch>
#include <utility>

namespace pepita::cri {
namespace {

WorkerPool::Work work(
    std::move_only_function<void()> run, std::move_only_function<void()> drop = [] {}) {
    return {.run = std::move(run), .drop = std::move(drop)};
}

TEST(WorkerPool, RunsOnAsManyThreadsAsItMayHave) {
    std::latch both(2);  // is passed only by two at once
    WorkerPool pool({.name = "test", .threads_max = 2, .queue_max = 8});
    auto first = work([&] { both.arrive_and_wait(); });
    auto second = work([&] { both.arrive_and_wait(); });
    ASSERT_TRUE(pool.add(first));
    ASSERT_TRUE(pool.add(second));
    both.wait();
}

TEST(WorkerPool, RefusesWhatWouldWaitBeyondItsLimit) {
    std::latch running(1);
    std::latch go(1);
    WorkerPool pool({.name = "test", .threads_max = 1, .queue_max = 1});
    auto first = work([&] {
        running.count_down();
        go.wait();
    });
    ASSERT_TRUE(pool.add(first));
    running.wait();
    auto second = work([] {});
    ASSERT_TRUE(pool.add(second));
    auto third = work([] {});
    EXPECT_EQ(pool.add(third).error().code(), Code::ResourceExhausted);
    EXPECT_TRUE(third.run);
    go.count_down();
}

TEST(WorkerPool, DropsWhatWaitsAndEndsAfterWhatRuns) {
    std::atomic<bool> has_ended = false;
    std::atomic<bool> has_begun = false;
    {
        std::latch running(1);
        std::latch dropped(1);
        WorkerPool pool({.name = "test", .threads_max = 1, .queue_max = 8});
        auto first = work([&] {
            running.count_down();
            dropped.wait();
            has_ended = true;
        });
        auto second = work([&] { has_begun = true; }, [&] { dropped.count_down(); });
        ASSERT_TRUE(pool.add(first));
        running.wait();
        ASSERT_TRUE(pool.add(second));
        pool.stop();
        EXPECT_EQ(pool.add(second).error().code(), Code::ResourceExhausted);
    }
    EXPECT_TRUE(has_ended);
    EXPECT_FALSE(has_begun);
}

}  // namespace
}  // namespace pepita::cri
