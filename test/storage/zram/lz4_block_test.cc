#include "storage/lz4_block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "kernel-abi/sys/error.h"

namespace pepita::storage {
namespace {

/// lz4's block format by hand: one literal 'a', a match of 15 + 4 + 5 one byte back, five literals.
constexpr std::array kThirtyTimesA = {
    std::byte{0x1f}, std::byte{'a'}, std::byte{1},   std::byte{0},   std::byte{5},  std::byte{0x50},
    std::byte{'a'},  std::byte{'a'}, std::byte{'a'}, std::byte{'a'}, std::byte{'a'}};

TEST(Lz4Block, Unpacks) {
    std::array<std::byte, 64> into{};
    EXPECT_EQ(lz4_unpack(kThirtyTimesA, into).value(), 30U);
    EXPECT_EQ(std::ranges::count(into, std::byte{'a'}), 30);
}

TEST(Lz4Block, StaysWithinItsRoom) {
    std::array<std::byte, 30> exact{};
    EXPECT_TRUE(lz4_unpack(kThirtyTimesA, exact).has_value());
    std::array<std::byte, 29> short_by_one{};
    EXPECT_EQ(lz4_unpack(kThirtyTimesA, short_by_one).error().code(), Code::DataLoss);
}

TEST(Lz4Block, DamageIsDataLoss) {
    auto damaged = kThirtyTimesA;
    damaged[2] = std::byte{0x40};  // a match that begins before the first byte
    std::array<std::byte, 64> into{};
    EXPECT_EQ(lz4_unpack(damaged, into).error().code(), Code::DataLoss);
}

}  // namespace
}  // namespace pepita::storage
