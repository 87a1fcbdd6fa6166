#include "kernel-abi/sys/adaptive_mutex.h"

#include <gtest/gtest.h>

#include <array>
#include <mutex>

#include "kernel-abi/sys/thread.h"

namespace pepita {
namespace {

TEST(AdaptiveMutexTest, IsForOneAtATime) {
    AdaptiveMutex mutex;
    int sum = 0;
    std::array<Thread, 4> threads;
    for (Thread& thread : threads) {
        thread = *Thread::start("adder", [&] {
            for (int i = 0; i < 20'000; ++i) {
                const std::scoped_lock lock(mutex);
                ++sum;
            }
        });
    }
    for (Thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(sum, 80'000);
}

TEST(AdaptiveMutexTest, WhoLooksInVainWaits) {
    AdaptiveMutex mutex;
    mutex.lock();
    EXPECT_FALSE(mutex.try_lock());
    bool is_in = false;
    Thread waiter = *Thread::start("waiter", [&] {
        const std::scoped_lock lock(mutex);
        is_in = true;
    });
    EXPECT_FALSE(is_in);  // whether it looks still or sleeps
    mutex.unlock();
    waiter.join();
    EXPECT_TRUE(is_in);
    const bool is_free = mutex.try_lock();
    if (is_free) {
        mutex.unlock();
    }
    EXPECT_TRUE(is_free);
}

}  // namespace
}  // namespace pepita
