#include "storage/block_device.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "kernel-abi/sys/units.h"

namespace pepita::storage {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(IsWithin, LastSectorIsInsideAndTheNextIsNot) {
    EXPECT_TRUE(is_within(Sectors(8), Sectors(7), Bytes(512)));
    EXPECT_FALSE(is_within(Sectors(8), Sectors(8), Bytes(512)));
    EXPECT_FALSE(is_within(Sectors(8), Sectors(7), Bytes(1024)));
    EXPECT_TRUE(is_within(Sectors(8), Sectors(0), Bytes(4096)));
}

TEST(IsWithin, NothingAtTheEndIsInside) {
    EXPECT_TRUE(is_within(Sectors(8), Sectors(8), Bytes(0)));
    EXPECT_FALSE(is_within(Sectors(8), Sectors(9), Bytes(0)));
}

TEST(IsWithin, PartsOfASectorAreNot) {
    EXPECT_FALSE(is_within(Sectors(8), Sectors(0), Bytes(511)));
    EXPECT_FALSE(is_within(Sectors(8), Sectors(0), Bytes(513)));
}

// Integer wrap: sector + length, or sector * 512, past 2^64.
TEST(IsWithin, NumbersNearTheTopDoNotWrap) {
    EXPECT_FALSE(is_within(Sectors(8), Sectors(kMax), Bytes(512)));
    EXPECT_FALSE(is_within(Sectors(8), Sectors(kMax - 1), Bytes(1024)));
    EXPECT_FALSE(is_within(Sectors(8), Sectors(1ULL << 55U), Bytes(512)));  // * 512 is 0
    EXPECT_FALSE(is_within(Sectors(8), Sectors(1), Bytes(kMax - 511)));
}

}  // namespace
}  // namespace pepita::storage
