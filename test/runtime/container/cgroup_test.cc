#include "runtime/container/cgroup.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"

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
    EXPECT_EQ(cpu_weight(1024), 100U);
    EXPECT_EQ(cpu_weight(2000), 170U);  // opencontainers/runc issue 4896
}

TEST(CpuMax, HasAPeriodAndMaxForNoQuota) {
    ResourcesSpec resources;
    resources.cpu_quota_us = 50'000;
    EXPECT_EQ(cpu_max(resources), "50000 100000");
    resources.cpu_period_us = 20'000;
    EXPECT_EQ(cpu_max(resources), "50000 20000");
    resources.cpu_quota_us = -1;
    EXPECT_EQ(cpu_max(resources), "max 20000");
    resources.cpu_quota_us = 0;
    resources.cpu_period_us = 0;
    EXPECT_EQ(cpu_max(resources), "max 100000");
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
