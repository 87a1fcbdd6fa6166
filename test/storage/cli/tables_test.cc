#include "storage/cli/tables.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "kernel-abi/sys/units.h"
#include "test/support/fake_storage_service.h"
#include "test/support/golden.h"

namespace pepita::storage::cli {
namespace {

TEST(StorageTables, AreGolden) {
    test::expect_golden("storage/list.txt", list_table(test::full_volumes()));
    test::expect_golden("storage/stats.txt", stats_table(test::full_stats()));
    test::expect_golden("storage/top.txt", top_view(test::full_stats(), test::full_volumes()));
}

TEST(StorageTables, AreHeadsWithoutVolumes) {
    EXPECT_EQ(list_table({}), "NAME  KIND  DOMAIN  SIZE  STORED  ATTACHED\n");
}

TEST(StorageTables, SizesHaveOneDigitBehindThePoint) {
    EXPECT_EQ(human(Bytes(0)), "0 B");
    EXPECT_EQ(human(Bytes(1023)), "1023 B");
    EXPECT_EQ(human(Bytes(1024)), "1.0 KiB");
    EXPECT_EQ(human(Bytes(1536)), "1.5 KiB");
    EXPECT_EQ(human(Bytes((1U << 20U) - 1)), "1023.9 KiB");
    EXPECT_EQ(human(Bytes(UINT64_MAX)), "16383.9 PiB");
}

}  // namespace
}  // namespace pepita::storage::cli
