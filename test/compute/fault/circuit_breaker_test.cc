#include "compute/fault/circuit_breaker.h"

#include <gtest/gtest.h>

namespace pepita::compute {
namespace {

using std::chrono::seconds;
using State = CircuitBreaker::State;

constexpr TimePoint kStart{seconds(100)};

CircuitBreaker tripped() {
    CircuitBreaker breaker({}, 1);
    for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(breaker.allow(kStart));
        breaker.on_result(kStart, i % 2 == 0);
    }
    return breaker;
}

TEST(CircuitBreaker, OpensAtTheRatioOnceEnoughCallsAreKnown) {
    CircuitBreaker breaker({}, 1);
    for (int i = 0; i < 19; ++i) {
        breaker.on_result(kStart, false);
        ASSERT_EQ(breaker.state(), State::Closed);
    }
    breaker.on_result(kStart, false);
    EXPECT_EQ(breaker.state(), State::Open);
    EXPECT_FALSE(breaker.allow(kStart));
}

TEST(CircuitBreaker, ForgetsWhatIsOlderThanTheWindow) {
    CircuitBreaker breaker({}, 1);
    for (int i = 0; i < 19; ++i) {
        breaker.on_result(kStart, false);
    }
    breaker.on_result(kStart + seconds(10), false);
    EXPECT_EQ(breaker.state(), State::Closed);
}

TEST(CircuitBreaker, ProbesAfterAWhileAndCloses) {
    CircuitBreaker breaker = tripped();
    EXPECT_FALSE(breaker.allow(kStart + seconds(4)));
    const TimePoint later = kStart + seconds(6);  // 5 s and up to 10 % more
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(breaker.allow(later));
    }
    EXPECT_FALSE(breaker.allow(later));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(breaker.state(), State::HalfOpen);
        breaker.on_result(later, true);
    }
    EXPECT_EQ(breaker.state(), State::Closed);
}

TEST(CircuitBreaker, WaitsTwiceAsLongAfterAProbeFailed) {
    CircuitBreaker breaker = tripped();
    const TimePoint later = kStart + seconds(6);
    EXPECT_TRUE(breaker.allow(later));
    breaker.on_result(later, false);
    EXPECT_FALSE(breaker.allow(later + seconds(9)));
    EXPECT_TRUE(breaker.allow(later + seconds(12)));
}

TEST(CircuitBreaker, AnAbandonedProbeMakesPlaceForAnother) {
    CircuitBreaker breaker = tripped();
    const TimePoint later = kStart + seconds(6);
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(breaker.allow(later));
    }
    breaker.on_abandoned();
    EXPECT_TRUE(breaker.allow(later));
    EXPECT_FALSE(breaker.allow(later));
}

TEST(CircuitBreaker, ResultsOfEarlierCallsDoNotCountWhileOpen) {
    CircuitBreaker breaker = tripped();
    breaker.on_result(kStart, true);
    EXPECT_EQ(breaker.state(), State::Open);
}

}  // namespace
}  // namespace pepita::compute
