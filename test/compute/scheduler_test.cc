#include "compute/scheduler.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <memory>
#include <numeric>
#include <semaphore>
#include <string>
#include <vector>

namespace pepita::compute {
namespace {

std::unique_ptr<Scheduler> make(std::uint32_t workers, std::uint32_t capacity = 4096) {
    auto made = Scheduler::create({.workers = workers, .queue_capacity = capacity});
    EXPECT_TRUE(made);
    return *std::move(made);
}

std::uint64_t fib(Worker& worker, int n) {
    if (n < 2) {
        return static_cast<std::uint64_t>(n);
    }
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    worker.join([&](Worker& self) { a = fib(self, n - 1); },
                [&](Worker& self) { b = fib(self, n - 2); });
    return a + b;
}

TEST(Scheduler, JoinsOnOneWorker) {
    EXPECT_EQ(make(1)->run([](Worker& worker) { return fib(worker, 20); }), 6765U);
}

TEST(Scheduler, JoinsOnMoreWorkersThanProcessors) {
    const auto scheduler = make(8);
    for (int round = 0; round < 20; ++round) {
        ASSERT_EQ(scheduler->run([](Worker& worker) { return fib(worker, 18); }), 2584U);
    }
}

TEST(Scheduler, WorkersStealFromEachOther) {
    const auto scheduler = make(2);
    // Each side waits for the other, so two workers must run them.
    scheduler->run([](Worker& worker) {
        std::latch both(2);
        const auto meet = [&](Worker&) { both.arrive_and_wait(); };
        worker.join(meet, meet);
    });
    const auto counts = scheduler->counts();
    EXPECT_EQ(counts[0].stolen + counts[1].stolen, 1U);
    EXPECT_EQ(counts[0].injected + counts[1].injected, 1U);
}

TEST(Scheduler, AJobMoreThanAStealIsAskedFor) {
    const auto scheduler = make(4);
    scheduler->run([](Worker& worker) {
        std::latch all(4);
        Scope scope(worker);
        for (int i = 0; i < 4; ++i) {
            scope.spawn([&](Worker&) { all.arrive_and_wait(); });
        }
        scope.wait();
    });
}

TEST(Scope, RunsEachJobOnce) {
    const auto scheduler = make(3);
    std::vector<std::atomic<int>> runs(20'000);  // more than a deque holds
    scheduler->run([&](Worker& worker) {
        Scope scope(worker);
        for (auto& count : runs) {
            scope.spawn([&count](Worker&) { count.fetch_add(1); });
        }
    });
    for (const auto& count : runs) {
        ASSERT_EQ(count.load(), 1);
    }
}

TEST(Scope, JobsMaySpawnIntoScopesOfTheirOwn) {
    const auto scheduler = make(3);
    std::atomic<int> leaves = 0;
    scheduler->run([&](Worker& worker) {
        Scope outer(worker);
        for (int i = 0; i < 50; ++i) {
            outer.spawn([&](Worker& self) {
                Scope inner(self);
                for (int j = 0; j < 50; ++j) {
                    inner.spawn([&](Worker&) { leaves.fetch_add(1); });
                }
            });
        }
    });
    EXPECT_EQ(leaves.load(), 2500);
}

TEST(ParallelFor, CoversTheRangeOnce) {
    const auto scheduler = make(4);
    std::vector<std::atomic<int>> seen(100'003);
    scheduler->run([&](Worker& worker) {
        worker.parallel_for(3, seen.size(), 64, [&](std::size_t first, std::size_t last) {
            EXPECT_LE(last - first, 64U);
            for (; first < last; ++first) {
                seen[first].fetch_add(1, std::memory_order_relaxed);
            }
        });
    });
    EXPECT_EQ(seen[2].load(), 0);
    EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 100'000);
    EXPECT_EQ(*std::max_element(seen.begin(), seen.end()), 1);
}

TEST(ParallelFor, AnEmptyRangeCallsNothing) {
    make(2)->run([](Worker& worker) {
        worker.parallel_for(7, 7, 1, [](std::size_t, std::size_t) { FAIL(); });
    });
}

TEST(ParallelFor, LeavesOutWhatIsCancelled) {
    const auto scheduler = make(2);
    std::stop_source stop;
    std::atomic<int> pieces = 0;
    scheduler->run([&](Worker& worker) {
        worker.parallel_for(
            0, 1'000'000, 1,
            [&](std::size_t, std::size_t) {
                if (pieces.fetch_add(1) == 10) {
                    stop.request_stop();
                }
            },
            stop.get_token());
    });
    EXPECT_LT(pieces.load(), 1000);
}

TEST(ParallelReduce, IsTheSameOnAnyNumberOfWorkers) {
    std::vector<float> values(100'000);
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = 1.0F / static_cast<float>(i + 1);
    }
    const auto sum_on = [&](std::uint32_t workers) {
        return make(workers)->run([&](Worker& worker) {
            return worker.parallel_reduce<float>(
                0, values.size(), 100,
                [&](std::size_t first, std::size_t last) {
                    float sum = 0;
                    for (; first < last; ++first) {
                        sum += values[first];
                    }
                    return sum;
                },
                [](float a, float b) { return a + b; });
        });
    };
    const float alone = sum_on(1);
    EXPECT_NEAR(alone, 12.0901, 1e-3);
    EXPECT_EQ(sum_on(4), alone);
}

/// Keeps the only worker busy until release().
class Blocker {
public:
    explicit Blocker(Scheduler& scheduler) {
        scheduler.submit([gates = gates_](Worker&) {
            gates->started.release();
            gates->go.acquire();
        });
        gates_->started.acquire();
    }
    void release() { gates_->go.release(); }

private:
    struct Gates {
        std::binary_semaphore started{0};
        std::binary_semaphore go{0};
    };
    std::shared_ptr<Gates> gates_ = std::make_shared<Gates>();  // the worker may leave last
};

/// What one worker runs, in its order, of what is submitted while it is busy.
std::vector<Priority> order_of(std::initializer_list<std::pair<Priority, int>> submitted) {
    std::vector<Priority> order;
    auto scheduler = make(1);
    Blocker blocker(*scheduler);
    for (const auto& [priority, count] : submitted) {
        for (int i = 0; i < count; ++i) {
            scheduler->submit([&order, mine = priority](Worker&) { order.push_back(mine); },
                              priority);
        }
    }
    blocker.release();
    scheduler.reset();
    return order;
}

TEST(Priorities, HighOvertakesALowFlood) {
    const auto order = order_of({{Priority::Low, 1000}, {Priority::High, 1}});
    ASSERT_EQ(order.size(), 1001U);
    EXPECT_LT(std::find(order.begin(), order.end(), Priority::High) - order.begin(), 2);
}

TEST(Priorities, NoneStarvesUnderAHighFlood) {
    const auto order = order_of({{Priority::High, 1000}, {Priority::Idle, 1}});
    ASSERT_EQ(order.size(), 1001U);
    EXPECT_LE(std::find(order.begin(), order.end(), Priority::Idle) - order.begin(), 64);
}

TEST(BackPressure, RefusesWhatDoesNotFit) {
    const auto scheduler = make(1, 4);
    Blocker blocker(*scheduler);
    for (int i = 0; i < 4; ++i) {
        EXPECT_TRUE(scheduler->submit([](Worker&) {}, Priority::Normal, WhenFull::Refuse));
    }
    EXPECT_FALSE(scheduler->submit([](Worker&) {}, Priority::Normal, WhenFull::Refuse));
    EXPECT_TRUE(scheduler->submit([](Worker&) {}, Priority::High, WhenFull::Refuse));
    blocker.release();
}

TEST(BackPressure, RunsHereWhatDoesNotFit) {
    pthread_t runner{};
    std::uint64_t value = 0;
    const auto scheduler = make(1, 2);
    Blocker blocker(*scheduler);
    for (int i = 0; i < 3; ++i) {
        scheduler->submit(
            [&](Worker& worker) {
                runner = ::pthread_self();
                value = fib(worker, 10);
            },
            Priority::Normal, WhenFull::RunHere);
    }
    EXPECT_TRUE(::pthread_equal(runner, ::pthread_self()));
    EXPECT_EQ(value, 55U);
    blocker.release();
}

TEST(BackPressure, WaitsForRoom) {
    std::atomic<int> ran = 0;
    {
        const auto scheduler = make(2, 2);
        auto other = Thread::start("producer", [&] {
            for (int i = 0; i < 5000; ++i) {
                scheduler->submit([&](Worker&) { ran.fetch_add(1); });
            }
        });
        for (int i = 0; i < 5000; ++i) {
            scheduler->submit([&](Worker&) { ran.fetch_add(1); });
        }
        other->join();
    }
    EXPECT_EQ(ran.load(), 10'000);
}

TEST(Scheduler, RunsWhatWasSubmittedBeforeItEnds) {
    int ran = 0;
    {
        const auto scheduler = make(1);
        for (int i = 0; i < 1000; ++i) {
            scheduler->submit([&](Worker&) { ++ran; });
        }
    }
    EXPECT_EQ(ran, 1000);
}

TEST(Scheduler, AnIdlePoolUsesNoProcessor) {
    const auto scheduler = make(4);
    scheduler->run([](Worker& worker) { return fib(worker, 15); });
    std::vector<WorkerCounts> before = scheduler->counts();
    timespec cpu_before{};
    timespec cpu_after{};
    const timespec pause{.tv_sec = 0, .tv_nsec = 50'000'000};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);  // until they sleep
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_before);
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_after);
    const auto used = (cpu_after.tv_sec - cpu_before.tv_sec) * 1'000'000'000 +
                      (cpu_after.tv_nsec - cpu_before.tv_nsec);
    EXPECT_LT(used, 1'000'000);
}

/// A binary tree that is as deep as it has nodes on one side: the worst for a stack.
std::uint64_t comb(Worker& worker, int depth) {
    if (depth == 0) {
        return 1;
    }
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    worker.join([&](Worker& self) { a = comb(self, depth - 1); },
                [&](Worker& self) { b = fib(self, depth % 8); });
    return a + b;
}

TEST(Scheduler, HelpingStaysWithinASmallStack) {
    pthread_attr_t usual;
    pthread_attr_t small;
    ASSERT_EQ(::pthread_getattr_default_np(&usual), 0);
    ASSERT_EQ(::pthread_attr_init(&small), 0);
    ASSERT_EQ(::pthread_attr_setstacksize(&small, 1 << 20), 0);
    ASSERT_EQ(::pthread_setattr_default_np(&small), 0);
    const auto scheduler = make(4);
    ASSERT_EQ(::pthread_setattr_default_np(&usual), 0);
    const std::uint64_t alone = make(1)->run([](Worker& worker) { return comb(worker, 500); });
    for (int round = 0; round < 20; ++round) {
        EXPECT_EQ(scheduler->run([](Worker& worker) { return comb(worker, 500); }), alone);
    }
}

TEST(Scheduler, RefusesOptionsOutOfRange) {
    EXPECT_EQ(Scheduler::create({.workers = 257}).error().code(), Code::InvalidArgument);
    EXPECT_EQ(Scheduler::create({.queue_capacity = 3}).error().code(), Code::InvalidArgument);
    EXPECT_EQ(Scheduler::create({.queue_capacity = 0}).error().code(), Code::InvalidArgument);
}

TEST(Scheduler, PinsWorkersOnRequest) {
    auto made = Scheduler::create(
        {.workers = 2, .name = "pinned", .pinning = Scheduler::Options::Pinning::OnePerProcessor});
    ASSERT_TRUE(made);
    (*made)->run([](Worker&) {
        cpu_set_t set;
        CPU_ZERO(&set);
        ASSERT_EQ(::pthread_getaffinity_np(::pthread_self(), sizeof set, &set), 0);
        EXPECT_EQ(CPU_COUNT(&set), 1);
        std::array<char, 16> name{};
        ASSERT_EQ(::pthread_getname_np(::pthread_self(), name.data(), name.size()), 0);
        EXPECT_EQ(std::string(name.data()).substr(0, 7), "pinned-");
    });
}

}  // namespace
}  // namespace pepita::compute
