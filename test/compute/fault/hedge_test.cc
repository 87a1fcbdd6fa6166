#include "compute/fault/hedge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace pepita::compute {
namespace {

using std::chrono::milliseconds;

/// Calls take 10 to 20 ms; every fiftieth takes 500.
Duration latency(Random& random) {
    return random.unit() < 0.02 ? milliseconds(500)
                                : milliseconds(10 + static_cast<int>(random.unit() * 10));
}

TEST(HedgePolicy, CutsTheTailForFivePercentMoreLoad) {
    HedgePolicy policy({});
    Random random(3);
    std::vector<Duration> plain;
    std::vector<Duration> hedged;
    constexpr int kCalls = 20'000;
    int copies = 0;
    for (int i = 0; i < kCalls; ++i) {
        const auto delay = policy.on_call();
        const Duration first = latency(random);
        Duration took = first;
        if (delay && first > *delay && policy.may_hedge()) {
            ++copies;
            took = std::min(first, *delay + latency(random));
        }
        policy.on_latency(first);
        plain.push_back(first);
        hedged.push_back(took);
    }
    std::sort(plain.begin(), plain.end());
    std::sort(hedged.begin(), hedged.end());
    const std::size_t p99 = kCalls * 99 / 100;
    EXPECT_LE(hedged[p99].count(), 0.6 * static_cast<double>(plain[p99].count()));
    EXPECT_LE(copies, kCalls * 0.05);
    EXPECT_GT(copies, 0);
}

TEST(HedgePolicy, DoesNotHedgeBeforeItKnowsLatencies) {
    HedgePolicy policy({});
    EXPECT_EQ(policy.on_call(), std::nullopt);
    EXPECT_FALSE(policy.may_hedge());
}

TEST(HedgePolicy, SpendsItsCreditOnce) {
    HedgePolicy policy({});
    for (int i = 0; i < 25; ++i) {
        (void)policy.on_call();
    }
    EXPECT_TRUE(policy.may_hedge());
    EXPECT_FALSE(policy.may_hedge());
}

}  // namespace
}  // namespace pepita::compute
