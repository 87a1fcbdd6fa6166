#include "storage/ublk_control.h"

#include <gtest/gtest.h>

#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"

// What needs a kernel with ublk is in test/lab/ublk_test.py.

namespace pepita::storage {
namespace {

TEST(UblkControl, SaysWhatIsMissingWhereThereIsNoUblk) {
    const auto control = UblkControl::open("/dev/no-such-control");
    ASSERT_FALSE(control.has_value());
    EXPECT_EQ(control.error().code(), Code::NotFound);
    EXPECT_EQ(control.error().message(),
              "open '/dev/no-such-control' (this kernel has no ublk, or its module ublk_drv is not "
              "loaded): No such file or directory (ENOENT)");
}

// /dev/full answers every command with EOPNOTSUPP: enough to see what is refused before the kernel.
class UblkControlTest : public testing::Test {
protected:
    Error refusal_of(const UblkLayout& layout) {
        auto added = control_.add(layout);
        EXPECT_FALSE(added.has_value());
        return std::move(added.error());
    }

    UblkControl control_ = *UblkControl::open("/dev/full");
};

TEST_F(UblkControlTest, QueuesAreAtLeastOne) {
    const Error error = refusal_of({.queues = 0});
    EXPECT_EQ(error.code(), Code::InvalidArgument);
    EXPECT_EQ(error.message(), "ublk device of 0 queues: 1 to 4096");
    EXPECT_EQ(refusal_of({.queues = 4097}).code(), Code::InvalidArgument);
    EXPECT_EQ(refusal_of({.queues = 4096}).code(), Code::Unsupported) << "the kernel's word";
}

TEST_F(UblkControlTest, DepthIsAtLeastOne) {
    const Error error = refusal_of({.depth = 0});
    EXPECT_EQ(error.code(), Code::InvalidArgument);
    EXPECT_EQ(error.message(), "ublk device with queues 0 deep: 1 to 4096");
    EXPECT_EQ(refusal_of({.depth = 4097}).code(), Code::InvalidArgument);
    EXPECT_EQ(refusal_of({.depth = 4096}).code(), Code::Unsupported) << "the kernel's word";
}

TEST_F(UblkControlTest, RequestsAreAPageToTheOffsetsBits) {
    EXPECT_EQ(refusal_of({.request_max = Bytes(4095)}).code(), Code::InvalidArgument);
    EXPECT_EQ(refusal_of({.request_max = Bytes((32U << 20U) + 1)}).code(), Code::InvalidArgument);
    EXPECT_EQ(refusal_of({.request_max = 32_MiB}).code(), Code::Unsupported);
}

TEST_F(UblkControlTest, NamesTheCommandThatFailed) {
    EXPECT_EQ(control_.features(), 0U);
    EXPECT_EQ(refusal_of({.id = UblkId(3)}).message(),
              "ublk device 3: ADD_DEV: Operation not supported (EOPNOTSUPP)");
    EXPECT_EQ(control_.start(UblkId(3)).error().message(),
              "ublk device 3: GET_DEV_INFO: Operation not supported (EOPNOTSUPP)");
}

TEST_F(UblkControlTest, ResizeNeedsANewKernel) {
    EXPECT_EQ(control_.resize(UblkId(3), Sectors(8)).error().message(),
              "ublk device 3: this kernel cannot resize (Linux 6.16 can)");
}

TEST(UblkPaths, HaveTheId) {
    EXPECT_EQ(ublk_block_path(UblkId(12)), "/dev/ublkb12");
    EXPECT_EQ(ublk_char_path(UblkId(0)), "/dev/ublkc0");
}

}  // namespace
}  // namespace pepita::storage
