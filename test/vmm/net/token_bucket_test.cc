#include "vmm/net/token_bucket.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>

namespace pepita::vmm::net {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""h;

constexpr TokenBucket::Clock::time_point kStart{std::chrono::hours(1)};

TEST(TokenBucket, WithoutALimitIsOpen) {
    TokenBucket bucket(0, kStart);
    bucket.take(std::uint64_t{1} << 60U);
    EXPECT_TRUE(bucket.is_open(kStart));
}

TEST(TokenBucket, OpensOnceWhatItOwesHasFlownIn) {
    TokenBucket bucket(1'000'000, kStart);  // a burst of 100 000
    EXPECT_TRUE(bucket.is_open(kStart));
    bucket.take(150'000);
    EXPECT_FALSE(bucket.is_open(kStart));
    EXPECT_GE(bucket.until_open(), 50ms);
    EXPECT_LT(bucket.until_open(), 51ms);
    EXPECT_FALSE(bucket.is_open(kStart + 49ms));
    EXPECT_TRUE(bucket.is_open(kStart + 51ms));
}

TEST(TokenBucket, KeepsNoMoreThanABurst) {
    TokenBucket bucket(1'000'000, kStart);
    EXPECT_TRUE(bucket.is_open(kStart + 10h));
    bucket.take(100'001);
    EXPECT_FALSE(bucket.is_open(kStart + 10h));
}

// What comes in between two looks is less than a byte, and is not lost.
TEST(TokenBucket, FillsHoweverOftenItIsAsked) {
    TokenBucket bucket(10, kStart);
    bucket.take(2);
    bool is_open = false;
    auto now = kStart;
    for (; !is_open && now < kStart + 1000ms; now += 1ms) {
        is_open = bucket.is_open(now);
    }
    EXPECT_EQ(now - kStart, 201ms);  // from -1 to 1, at 10 a second
}

TEST(TokenBucket, LargestRateDoesNotWrap) {
    TokenBucket bucket(TokenBucket::kRateMax, kStart);
    bucket.take(std::uint64_t{1} << 20U);
    EXPECT_TRUE(bucket.is_open(kStart + 10h));
}

}  // namespace
}  // namespace pepita::vmm::net
