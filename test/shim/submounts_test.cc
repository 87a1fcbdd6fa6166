#include "shim/submounts.h"

#include <gtest/gtest.h>

#include <string_view>

namespace pepita::shim {
namespace {

constexpr std::string_view kMounts =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "30 22 0:5 / /data/disk rw master:2 - tmpfs none rw\n"
    "31 22 0:6 / /data2 rw - tmpfs none rw\n"
    "32 22 0:7 / /with\\040space/in rw - tmpfs none rw\n";

TEST(HasSubmounts, OnlyOfADirectoryAboveAMount) {
    EXPECT_TRUE(has_submounts(kMounts, "/data"));
    EXPECT_TRUE(has_submounts(kMounts, "/data/"));
    EXPECT_TRUE(has_submounts(kMounts, "/"));
    EXPECT_FALSE(has_submounts(kMounts, "/data/disk"));
    EXPECT_FALSE(has_submounts(kMounts, "/dat"));
    EXPECT_FALSE(has_submounts(kMounts, "/data2"));
}

TEST(HasSubmounts, ReadsWhatTheKernelEscapes) {
    EXPECT_TRUE(has_submounts(kMounts, "/with space"));
    EXPECT_FALSE(has_submounts(kMounts, "/with"));
}

TEST(HasSubmounts, TakesAnyText) {
    EXPECT_FALSE(has_submounts("", "/"));
    EXPECT_FALSE(has_submounts("1 2\n\n3 \\0 \\", "/"));
}

}  // namespace
}  // namespace pepita::shim
