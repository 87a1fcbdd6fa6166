#include "storage/ublk/request.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"

namespace pepita::storage::ublk {
namespace {

constexpr Bytes kBuffer = 8_KiB;

abi::UblkIoDescriptor descriptor(std::uint32_t op_flags, std::uint32_t sectors,
                                 std::uint64_t first = 7) {
    return {.op_flags = op_flags, .nr_sectors = sectors, .start_sector = first, .addr = 0};
}

std::optional<Operation> operation_of(std::uint32_t op_flags) {
    const std::optional<Request> request = decode(descriptor(op_flags, 1), kBuffer);
    return request ? std::optional(request->operation) : std::nullopt;
}

TEST(UblkRequest, SaysWhatTheKernelWants) {
    EXPECT_EQ(
        decode(descriptor(abi::kUblkIoOpWrite | abi::kUblkIoFFua | abi::kUblkIoFMeta, 8), kBuffer),
        (Request{.operation = Operation::Write,
                 .first = Sectors(7),
                 .count = Sectors(8),
                 .is_forced = true}));
    EXPECT_EQ(operation_of(abi::kUblkIoOpRead), Operation::Read);
    EXPECT_EQ(operation_of(abi::kUblkIoOpFlush), Operation::Flush);
    EXPECT_EQ(operation_of(abi::kUblkIoOpDiscard), Operation::Discard);
    EXPECT_EQ(operation_of(abi::kUblkIoOpWriteZeroes), Operation::WriteZeroes);
}

TEST(UblkRequest, DataFillTheirBufferAtMost) {
    for (const std::uint32_t operation : {abi::kUblkIoOpRead, abi::kUblkIoOpWrite}) {
        EXPECT_TRUE(decode(descriptor(operation, 16), kBuffer).has_value());
        EXPECT_FALSE(decode(descriptor(operation, 17), kBuffer).has_value());
        EXPECT_FALSE(decode(descriptor(operation, 0), kBuffer).has_value());
        constexpr auto all = std::numeric_limits<std::uint32_t>::max();
        EXPECT_FALSE(decode(descriptor(operation, all), kBuffer).has_value());
    }
    EXPECT_TRUE(decode(descriptor(abi::kUblkIoOpDiscard, 1U << 30U), kBuffer).has_value())
        << "it has none";
}

TEST(UblkRequest, OtherOperationsAreNotOurs) {
    EXPECT_EQ(decode(descriptor(abi::kUblkIoOpWriteSame, 1), kBuffer), std::nullopt);
    constexpr std::uint32_t zone_reset = 15;
    EXPECT_EQ(decode(descriptor(zone_reset, 1), kBuffer), std::nullopt);
    EXPECT_EQ(decode(descriptor(0xff, 1), kBuffer), std::nullopt);
}

// Linux ublk_max_cmd_buf_size(): a queue's area is as long as if it were 4096 deep. Going by its
// depth instead, queues after the first read other queues' descriptors.
TEST(UblkRequest, QueuesLieAsFarApartAsTheDeepestCouldBe) {
    EXPECT_EQ(descriptors_offset(0), 0U);
    EXPECT_EQ(descriptors_offset(1), 4096U * 24);
    EXPECT_EQ(descriptors_offset(4095), 4095ULL * 4096 * 24);
    EXPECT_EQ(descriptors_size(1), Bytes(4096));
    EXPECT_EQ(descriptors_size(170), Bytes(4096));
    EXPECT_EQ(descriptors_size(171), Bytes(8192));
    EXPECT_EQ(descriptors_size(4096), Bytes(98304));
}

TEST(UblkRequest, DataLieByQueueAndTag) {
    EXPECT_EQ(data_offset(0, 0), 0x80000000U);
    EXPECT_EQ(data_offset(0, 1), 0x82000000U);
    EXPECT_EQ(data_offset(1, 0), 0x80000000U + (1ULL << 41U));
    EXPECT_EQ(data_offset(4095, 4095), 0x80000000U + (4095ULL << 41U) + (4095ULL << 25U));
}

}  // namespace
}  // namespace pepita::storage::ublk
