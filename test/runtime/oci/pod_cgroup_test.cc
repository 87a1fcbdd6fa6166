#include "runtime/pod_cgroup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/oci/host_cgroup.h"

namespace pepita::runtime {
namespace {

std::string text_of(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<oci::CgroupMount> mounts() {
    return oci::cgroup_mounts(text_of("/proc/self/mountinfo"));
}

std::vector<std::string> own_groups() {
    return oci::cgroups_of(mounts(), text_of("/proc/self/cgroup"));
}

// On this machine's hierarchies, with this process.
class PodCgroupTest : public testing::Test {
protected:
    void SetUp() override {
        auto made = oci::make_cgroups(mounts(), place_);
        if (!made) {
            GTEST_SKIP() << made.error().message();
        }
        made_ = *std::move(made);
        if (made_.groups.empty()) {
            GTEST_SKIP() << "no cgroup file system is mounted";
        }
    }
    void TearDown() override { oci::remove_cgroups(made_.groups); }

    std::string place_ = "/pepita-unit-test-" + std::to_string(::getpid());
    oci::MadeCgroups made_;
};

TEST_F(PodCgroupTest, EntersAndGoesBack) {
    const std::vector<std::string> before = own_groups();
    const std::string inner = place_ + "/pod/vm";
    {
        const auto cgroup = PodCgroup::enter(inner);
        ASSERT_TRUE(cgroup.has_value()) << cgroup.error().message();
        ASSERT_EQ(own_groups().size(), mounts().size());
        for (const std::string& group : own_groups()) {
            EXPECT_TRUE(group.ends_with(inner)) << group;
        }
    }
    EXPECT_EQ(own_groups(), before);
    for (const std::string& group : made_.groups) {
        EXPECT_FALSE(std::filesystem::exists(group + "/pod")) << group;
    }
}

TEST_F(PodCgroupTest, WhatAKilledProcessHasLeftIsRemoved) {
    ASSERT_TRUE(PodCgroup::remove(place_).has_value());
    for (const std::string& group : made_.groups) {
        EXPECT_FALSE(std::filesystem::exists(group)) << group;
    }
    EXPECT_TRUE(PodCgroup::remove(place_).has_value()) << "gone is no error";
}

TEST_F(PodCgroupTest, AGroupThatWasThereStays) {
    { ASSERT_TRUE(PodCgroup::enter(place_).has_value()); }
    for (const std::string& group : made_.groups) {
        EXPECT_TRUE(std::filesystem::exists(group)) << group;
    }
}

TEST(PodCgroup, R5_APlaceThatIsNoneIsRefusedWithTheReason) {
    EXPECT_EQ(PodCgroup::enter("/a/../b").error().message(), "must not contain '..'");
    const std::vector<std::string> before = own_groups();
    const auto refused = PodCgroup::enter("/pepita-unit-test/cgroup.procs/x");
    ASSERT_FALSE(refused.has_value());
    EXPECT_TRUE(refused.error().message().ends_with("/x': Not a directory (ENOTDIR)"))
        << refused.error().message();
    EXPECT_EQ(own_groups(), before);
    for (const oci::CgroupMount& mount : mounts()) {
        EXPECT_FALSE(std::filesystem::exists(mount.path + "/pepita-unit-test"));
    }
}

}  // namespace
}  // namespace pepita::runtime
