#include "kernel-abi/virtio/chain.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/sys/error.h"

namespace pepita::virtio {
namespace {

class ChainTest : public testing::Test {
protected:
    std::array<std::byte, 4> first_{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    std::array<std::byte, 2> second_{std::byte{5}, std::byte{6}};
    std::array<std::byte, 3> room_{};
    std::array<std::byte, 5> more_room_{};
    Chain chain_{7, {first_, second_}, {room_, more_room_}};
};

TEST_F(ChainTest, ReadsAcrossSegmentsAndStopsAtTheEnd) {
    std::array<std::byte, 8> into{};
    EXPECT_EQ(chain_.read(std::span(into).first(3)), 3U);
    EXPECT_EQ(chain_.readable(), 3U);
    EXPECT_EQ(chain_.read(into), 3U);
    EXPECT_EQ(into[0], std::byte{4});
    EXPECT_EQ(into[2], std::byte{6});
    EXPECT_EQ(chain_.read(into), 0U);
}

TEST_F(ChainTest, ValueThatStraddlesSegmentsComesWhole) {
    EXPECT_EQ(chain_.read<std::uint16_t>().value_or(0), 0x0201);
    EXPECT_EQ(chain_.read<std::uint32_t>().value_or(0), 0x06050403U);
}

TEST_F(ChainTest, ValueLongerThanTheRestIsRefusedAndTheCursorStays) {
    EXPECT_EQ(chain_.read<std::uint64_t>().error().code(), Code::OutOfRange);
    EXPECT_EQ(chain_.readable(), 6U);
    EXPECT_EQ(chain_.read<std::uint16_t>().value_or(0), 0x0201);
}

TEST_F(ChainTest, WritesAcrossSegmentsAndStopsAtTheEnd) {
    EXPECT_EQ(chain_.write(first_), 4U);
    EXPECT_EQ(room_[2], std::byte{3});
    EXPECT_EQ(more_room_[0], std::byte{4});
    EXPECT_EQ(chain_.writable(), 4U);
    const std::array<std::byte, 9> too_long{};
    EXPECT_EQ(chain_.write(too_long), 4U);
    EXPECT_EQ(chain_.writable(), 0U);
}

TEST_F(ChainTest, TakenSegmentsAreTheGuestsOwnBytes) {
    ASSERT_EQ(chain_.write(second_), 2U);
    const std::vector<Chain::Segment> taken = chain_.take_writable(4);
    ASSERT_EQ(taken.size(), 2U);
    EXPECT_EQ(taken[0].data(), &room_[2]);
    EXPECT_EQ(taken[0].size(), 1U);
    EXPECT_EQ(taken[1].data(), more_room_.data());
    EXPECT_EQ(taken[1].size(), 3U);
    EXPECT_EQ(chain_.writable(), 2U);
}

TEST_F(ChainTest, TakesWhatIsLeftWhereMoreIsAsked) {
    const std::vector<Chain::Segment> taken = chain_.take_readable(100);
    ASSERT_EQ(taken.size(), 2U);
    EXPECT_EQ(taken[1].size(), 2U);
    EXPECT_EQ(chain_.readable(), 0U);
    EXPECT_TRUE(chain_.take_readable(1).empty());
}

TEST_F(ChainTest, TakesBehindWhatIsThereAlready) {
    std::vector<Chain::Segment> taken;
    chain_.take_writable(3, taken);
    chain_.take_readable(1, taken);
    ASSERT_EQ(taken.size(), 2U);
    EXPECT_EQ(taken[0].data(), room_.data());
    EXPECT_EQ(taken[1].data(), first_.data());
    EXPECT_EQ(chain_.writable(), 5U);
    EXPECT_EQ(chain_.readable(), 5U);
}

TEST_F(ChainTest, WhatIsSkippedStaysAsItIs) {
    chain_.skip_writable(4);
    EXPECT_EQ(chain_.writable(), 4U);
    EXPECT_EQ(chain_.write(first_), 4U);
    EXPECT_EQ(room_[2], std::byte{0});
    EXPECT_EQ(more_room_[0], std::byte{0});
    EXPECT_EQ(more_room_[1], std::byte{1});
    chain_.skip_writable(100);
    EXPECT_EQ(chain_.writable(), 0U);
}

TEST_F(ChainTest, EmptySegmentsAreStepsOver) {
    Chain chain{1, {{}, first_, {}, second_}, {}};
    EXPECT_EQ(chain.readable(), 6U);
    EXPECT_EQ(chain.read<std::uint32_t>().value_or(0), 0x04030201U);
    EXPECT_EQ(chain.read<std::uint16_t>().value_or(0), 0x0605);
}

}  // namespace
}  // namespace pepita::virtio
