#include "storage/daemon/ublk_exporter.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::daemon {
namespace {

class UblkExporterPath : public testing::TestWithParam<const char*> {};

// The path comes from the state file. What follows it is never reached: no disk, no control device.
TEST_P(UblkExporterPath, ThatIsNoUblkDeviceIsDataLoss) {
    UblkExporter exporter(1);
    const auto served = exporter.recover("web", {.spec = {}, .path = GetParam()}, nullptr);
    ASSERT_FALSE(served.has_value());
    EXPECT_EQ(served.error().code(), Code::DataLoss);
}

INSTANTIATE_TEST_SUITE_P(Every, UblkExporterPath,
                         testing::Values("", "/dev/ublkb", "/dev/ublkb1x", "/dev/sda",
                                         "/dev/ublkb-1", "/dev/ublkb99999999999"));

TEST(UblkMark, IsOfOneDirectoryAndNeverZero) {
    const Fd root = *open_file("/", O_RDONLY | O_DIRECTORY);
    const Fd other = *open_file("/proc", O_RDONLY | O_DIRECTORY);
    EXPECT_EQ(*ublk_mark(root.ref()), *ublk_mark(open_file("/", O_RDONLY)->ref()));
    EXPECT_NE(*ublk_mark(root.ref()), *ublk_mark(other.ref()));
    EXPECT_NE(*ublk_mark(root.ref()), 0U);
    EXPECT_FALSE(ublk_mark(FdRef(-1)).has_value());
}

}  // namespace
}  // namespace pepita::storage::daemon
