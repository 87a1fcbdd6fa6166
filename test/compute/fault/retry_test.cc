#include "compute/fault/retry.h"

#include <gtest/gtest.h>

namespace pepita::compute {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RetryPolicy, WaitsAnyTimeUpToTheExponential) {
    const RetryPolicy policy;
    Random random(1);
    Duration longest{};
    for (int i = 0; i < 1000; ++i) {
        const Duration delay = policy.delay_before(3, random);
        ASSERT_GE(delay, Duration::zero());
        ASSERT_LE(delay, milliseconds(100));
        longest = std::max(longest, delay);
    }
    EXPECT_GT(longest, milliseconds(95));
}

TEST(RetryPolicy, NeverWaitsLongerThanTheCap) {
    const RetryPolicy policy{.attempts = 100};
    Random random(2);
    for (std::uint32_t next = 2; next <= 100; ++next) {
        ASSERT_LE(policy.delay_before(next, random), seconds(5));
    }
}

TEST(RetryBudget, AStormOfFailuresCostsAQuarterMore) {
    RetryBudget budget({});
    int attempts = 0;
    constexpr int kRequests = 60'000;  // a minute of 1000 a second, all of which fail
    for (int i = 0; i < kRequests; ++i) {
        const TimePoint now = TimePoint(seconds(1000)) + milliseconds(i);
        budget.on_request(now);
        ++attempts;
        for (int retry = 0; retry < 2; ++retry) {
            attempts += budget.withdraw(now) ? 1 : 0;
        }
    }
    EXPECT_LE(attempts, kRequests * 1.25);
    EXPECT_GE(attempts, kRequests * 1.15);
}

TEST(RetryBudget, FewRequestsMayAllBeRetried) {
    RetryBudget budget({});
    const TimePoint now(seconds(5));
    int granted = 0;
    for (int i = 0; i < 200; ++i) {
        granted += budget.withdraw(now) ? 1 : 0;
    }
    EXPECT_EQ(granted, 100);
    EXPECT_FALSE(budget.withdraw(now + seconds(9)));
    EXPECT_TRUE(budget.withdraw(now + seconds(10)));
}

}  // namespace
}  // namespace pepita::compute
