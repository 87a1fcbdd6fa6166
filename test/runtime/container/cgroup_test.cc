#include "runtime/container/cgroup.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "kernel-abi/sys/error.h"

namespace pepita::runtime::container {
namespace {

TEST(CpuWeight, TheEndsOfBothRangesMeet) {
    EXPECT_EQ(cpu_weight(2), 1U);
    EXPECT_EQ(cpu_weight(262'144), 10'000U);
}

TEST(CpuWeight, WhatIsOutsideCountsAsTheNearestEnd) {
    EXPECT_EQ(cpu_weight(0), 1U);
    EXPECT_EQ(cpu_weight(1), 1U);
    EXPECT_EQ(cpu_weight(262'145), 10'000U);
    EXPECT_EQ(cpu_weight(std::numeric_limits<std::uint64_t>::max()), 10'000U);
}

TEST(CpuWeight, TheDefaultSharesAreWhatRuncMakesOfThem) {
    EXPECT_EQ(cpu_weight(1024), 39U);  // 1 + (1024 - 2) * 9999 / 262142
}

TEST(Cgroup, ADirectoryThatCannotBeMadeIsNamed) {
    const auto made = Cgroup::create("/proc/no-cgroup/web", {});
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().code(), Code::NotFound);
    EXPECT_EQ(made.error().message(),
              "make cgroup '/proc/no-cgroup/web': No such file or directory (ENOENT)");
}

}  // namespace
}  // namespace pepita::runtime::container
