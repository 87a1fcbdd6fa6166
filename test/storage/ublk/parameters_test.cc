#include "storage/ublk/parameters.h"

#include <gtest/gtest.h>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/block_device.h"

namespace pepita::storage::ublk {
namespace {

TEST(UblkParameters, DescribeADiskThatCanDoEverything) {
    const abi::UblkParams parameters = build_parameters(Sectors(12345), Access::ReadWrite, 512_KiB);
    EXPECT_EQ(parameters.len, sizeof(parameters));
    EXPECT_EQ(parameters.types, abi::kUblkParamBasic | abi::kUblkParamDiscard);
    EXPECT_EQ(parameters.basic.attrs, abi::kUblkAttrVolatileCache | abi::kUblkAttrFua);
    EXPECT_EQ(parameters.basic.dev_sectors, 12345U);
    EXPECT_EQ(parameters.basic.max_sectors, 1024U);
    EXPECT_EQ(parameters.basic.logical_bs_shift, 9);
    EXPECT_EQ(parameters.basic.physical_bs_shift, 12);
    EXPECT_EQ(parameters.discard.discard_granularity, 4096U);
    EXPECT_EQ(parameters.discard.max_discard_segments, 1);
    EXPECT_EQ(parameters.discard.max_discard_sectors, 8388607U) << "under 4 GiB";
    EXPECT_EQ(parameters.discard.max_write_zeroes_sectors, 8388607U);
}

TEST(UblkParameters, AReadOnlyDiskIsOnlyRead) {
    const abi::UblkParams parameters = build_parameters(Sectors(8), Access::ReadOnly, 4_KiB);
    EXPECT_EQ(parameters.types, abi::kUblkParamBasic);
    EXPECT_EQ(parameters.basic.attrs, abi::kUblkAttrReadOnly);
    EXPECT_EQ(parameters.basic.max_sectors, 8U);
}

}  // namespace
}  // namespace pepita::storage::ublk
