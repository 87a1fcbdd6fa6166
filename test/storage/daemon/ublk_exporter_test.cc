#include "storage/daemon/ublk_exporter.h"

#include <gtest/gtest.h>

#include "kernel-abi/sys/error.h"
#include "runtime/storage_api.h"

namespace pepita::storage::daemon {
namespace {

class UblkExporterPath : public testing::TestWithParam<const char*> {};

// The path comes from the state file. What follows it is never reached: no disk, no control device.
TEST_P(UblkExporterPath, ThatIsNoUblkDeviceIsDataLoss) {
    UblkExporter exporter;
    const auto served = exporter.recover("web", {.spec = {}, .path = GetParam()}, nullptr);
    ASSERT_FALSE(served.has_value());
    EXPECT_EQ(served.error().code(), Code::DataLoss);
}

INSTANTIATE_TEST_SUITE_P(Every, UblkExporterPath,
                         testing::Values("", "/dev/ublkb", "/dev/ublkb1x", "/dev/sda",
                                         "/dev/ublkb-1", "/dev/ublkb99999999999"));

}  // namespace
}  // namespace pepita::storage::daemon
