#include "kernel-abi/virtio/guest_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/units.h"

namespace pepita::virtio {
namespace {

// RAM at [0, 4096) and [8192, 12288), a hole between.
class GuestMemoryTest : public testing::Test {
protected:
    std::array<std::byte, 4096> low_{};
    std::array<std::byte, 4096> high_{};
    GuestMemory memory_ = *GuestMemory::create(
        {{.start = GuestAddress{8192}, .bytes = high_}, {.start = GuestAddress{0}, .bytes = low_}});
};

TEST_F(GuestMemoryTest, ReadsBackWhatWasWritten) {
    ASSERT_TRUE(memory_.write(GuestAddress{8192 + 16}, std::uint32_t{0xabcd}).has_value());
    EXPECT_EQ(memory_.read<std::uint32_t>(GuestAddress{8192 + 16}).value_or(0), 0xabcdU);
    EXPECT_EQ(std::to_integer<int>(high_[16]), 0xcd);
}

TEST_F(GuestMemoryTest, LastByteIsInsideAndTheNextIsNot) {
    EXPECT_TRUE(memory_.read<std::uint8_t>(GuestAddress{4095}).has_value());
    EXPECT_EQ(memory_.read<std::uint8_t>(GuestAddress{4096}).error().code(), Code::OutOfRange);
}

TEST_F(GuestMemoryTest, NothingStraddlesTheEndOfARegion) {
    EXPECT_EQ(memory_.read<std::uint16_t>(GuestAddress{4095}).error().code(), Code::OutOfRange);
    EXPECT_EQ(memory_.span_at(GuestAddress{8191}, Bytes(2)).error().code(), Code::OutOfRange);
}

TEST_F(GuestMemoryTest, AddressNearTheTopDoesNotWrap) {
    const auto top = GuestAddress{std::numeric_limits<std::uint64_t>::max() - 1};
    EXPECT_EQ(memory_.read<std::uint64_t>(top).error().code(), Code::OutOfRange);
    const auto all = Bytes(std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(memory_.span_at(GuestAddress{1}, all).error().code(), Code::OutOfRange);
}

TEST_F(GuestMemoryTest, OverlappingOrWrappingRegionsAreRefused) {
    EXPECT_EQ(GuestMemory::create({{.start = GuestAddress{0}, .bytes = low_},
                                   {.start = GuestAddress{4095}, .bytes = high_}})
                  .error()
                  .code(),
              Code::InvalidArgument);
    const auto top = GuestAddress{std::numeric_limits<std::uint64_t>::max() - 4094};
    EXPECT_EQ(GuestMemory::create({{.start = top, .bytes = low_}}).error().code(),
              Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita::virtio
