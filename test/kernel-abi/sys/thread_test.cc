#include "kernel-abi/sys/thread.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"

namespace pepita {
namespace {

TEST(Thread, RunsItsBodyUnderItsName) {
    std::string name;
    {
        auto thread = Thread::start("vcpu-12345678901234", [&name] {
            std::array<char, 16> buffer{};
            (void)::prctl(PR_GET_NAME, buffer.data());
            name = buffer.data();
        });
        ASSERT_TRUE(thread.has_value());
    }
    EXPECT_EQ(name, "vcpu-1234567890");  // 15 bytes are all the kernel keeps
}

TEST(Thread, IsJoinedWhenItIsReplaced) {
    std::atomic<int> ended = 0;
    auto first = Thread::start("first", [&ended] { ++ended; });
    ASSERT_TRUE(first.has_value());
    Thread thread = std::move(*first);
    thread.join();
    EXPECT_EQ(ended, 1);
    EXPECT_FALSE(thread);
}

TEST(Thread, InterruptEndsABlockingCall) {
    const Fd never(::eventfd(0, EFD_CLOEXEC));
    std::atomic<bool> over = false;
    int reason = 0;
    auto thread = Thread::start("waits", [&] {
        std::uint64_t value = 0;
        reason = ::read(never.ref().number(), &value, sizeof(value)) == -1 ? errno : 0;
        over = true;
    });
    ASSERT_TRUE(thread.has_value());
    while (!over) {  // the first ones may come before the read
        thread->interrupt();
        (void)::sched_yield();
    }
    thread->join();
    EXPECT_EQ(reason, EINTR);
}

TEST(Thread, X1_IsNotJoinedForEverWhereItWaitsForOthers) {
    const Fd full(::eventfd(0, EFD_CLOEXEC));
    const std::uint64_t most = UINT64_MAX - 1;
    ASSERT_EQ(::write(full.ref().number(), &most, sizeof(most)), 8);
    auto thread = Thread::start("waits", [&] { signal_eventfd(full.ref()); });
    ASSERT_TRUE(thread.has_value());
    EXPECT_FALSE(thread->join_within(std::chrono::milliseconds(10)));
    while (!thread->join_within(std::chrono::milliseconds(10))) {
        thread->interrupt();
    }
    EXPECT_FALSE(*thread);
    EXPECT_TRUE(thread->join_within(std::chrono::milliseconds(0)));
}

}  // namespace
}  // namespace pepita
