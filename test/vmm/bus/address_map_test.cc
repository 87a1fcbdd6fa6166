#include "vmm/bus/address_map.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "kernel-abi/sys/error.h"

namespace pepita::vmm {
namespace {

class Probe final : public BusTarget {
public:
    void read(std::uint64_t offset, std::span<std::byte> into) override {
        read_at = offset;
        into[0] = std::byte{0x42};
    }
    Written write(std::uint64_t offset, std::span<const std::byte> from) override {
        written_at = offset;
        written = from.size();
        return answer;
    }
    void write_on_loop(std::uint64_t offset, std::span<const std::byte> /*from*/) override {
        finished_at = offset;
        if (map != nullptr) {
            map->remove(0x1000);
        }
    }
    Written answer = Written::Done;
    AddressMap* map = nullptr;  // from which to remove itself
    std::optional<std::uint64_t> finished_at;
    std::uint64_t read_at = 0;
    std::uint64_t written_at = 0;
    std::size_t written = 0;
};

class AddressMapTest : public testing::Test {
protected:
    AddressMapTest() { EXPECT_TRUE(map_.add(0x1000, 0x10, probe_).has_value()); }

    Probe probe_;
    Probe other_;
    AddressMap map_;
};

TEST_F(AddressMapTest, GivesTheOffsetInsideTheRange) {
    std::array<std::byte, 4> bytes{};
    map_.read(0x1004, bytes);
    EXPECT_EQ(probe_.read_at, 4U);
    EXPECT_EQ(bytes[0], std::byte{0x42});
    EXPECT_EQ(map_.write(0x100c, bytes), Written::Done);
    EXPECT_EQ(probe_.written_at, 0xcU);
    EXPECT_EQ(probe_.written, 4U);
}

TEST_F(AddressMapTest, ReadsOnesWhereNothingIs) {
    std::array<std::byte, 2> bytes{};
    map_.read(0x0fff, bytes);
    EXPECT_EQ(bytes[0], std::byte{0xff});
    EXPECT_EQ(bytes[1], std::byte{0xff});
    EXPECT_EQ(map_.write(0x1010, bytes), Written::Done);
}

TEST_F(AddressMapTest, AccessAcrossTheEndReachesNobody) {
    std::array<std::byte, 4> bytes{};
    EXPECT_EQ(map_.write(0x100d, bytes), Written::Done);
    EXPECT_EQ(probe_.written, 0U);
}

TEST_F(AddressMapTest, RefusesOverlapOnEitherSide) {
    EXPECT_EQ(map_.add(0x100f, 1, other_).error().code(), Code::InvalidArgument);
    EXPECT_EQ(map_.add(0x0ff8, 9, other_).error().code(), Code::InvalidArgument);
    EXPECT_TRUE(map_.add(0x0ff8, 8, other_).has_value());
    EXPECT_TRUE(map_.add(0x1010, 1, other_).has_value());
}

TEST_F(AddressMapTest, RefusesEmptyAndWrappingRanges) {
    constexpr std::uint64_t kTop = std::numeric_limits<std::uint64_t>::max();
    EXPECT_FALSE(map_.add(0x2000, 0, other_).has_value());
    EXPECT_FALSE(map_.add(kTop, 2, other_).has_value());
    EXPECT_TRUE(map_.add(kTop, 1, other_).has_value());
}

TEST_F(AddressMapTest, WhatWasRemovedAnswersNoMoreAndItsPlaceIsFree) {
    std::array<std::byte, 4> bytes{};
    map_.remove(0x1004);
    map_.read(0x1004, bytes);
    EXPECT_EQ(bytes[0], std::byte{0x42});
    map_.remove(0x1000);
    map_.read(0x1004, bytes);
    EXPECT_EQ(bytes[0], std::byte{0xff});
    EXPECT_TRUE(map_.add(0x1000, 0x10, other_).has_value());
}

TEST_F(AddressMapTest, WriteThatNeedsTheLoopIsDoneThere) {
    const std::array<std::byte, 4> bytes{};
    probe_.answer = Written::NeedsLoop;
    EXPECT_EQ(map_.write(0x1004, bytes), Written::NeedsLoop);
    EXPECT_EQ(probe_.finished_at, std::nullopt);
    map_.write_on_loop(0x1004, bytes);
    EXPECT_EQ(probe_.finished_at, 4U);
}

TEST_F(AddressMapTest, WriteThatIsDoneAtOnceIsNotDoneTwice) {
    const std::array<std::byte, 4> bytes{};
    map_.write_on_loop(0x1004, bytes);
    EXPECT_EQ(probe_.written, 4U);
    EXPECT_EQ(probe_.finished_at, std::nullopt);
}

TEST_F(AddressMapTest, TargetMayRemoveItselfOnTheLoop) {
    std::array<std::byte, 4> bytes{};
    probe_.answer = Written::NeedsLoop;
    probe_.map = &map_;
    map_.write_on_loop(0x1004, bytes);
    map_.read(0x1004, bytes);
    EXPECT_EQ(bytes[0], std::byte{0xff});
}

}  // namespace
}  // namespace pepita::vmm
