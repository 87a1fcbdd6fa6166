#include "runtime/guest/shared_mounts.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "test/support/container_test.h"

namespace pepita::runtime::guest {
namespace {

class SharedMounts : public test::ContainerTest {
protected:
    void TearDown() override {
        (void)::umount2(place().c_str(), MNT_DETACH);
        (void)::rmdir(place().c_str());
        (void)::rmdir(directory().c_str());
        ContainerTest::TearDown();
    }

    std::string directory() const { return staging_directory_ + "-shared"; }
    std::string place() const { return directory() + "/shm"; }

    ContainerSpec spec_with_memory(const std::string& script) const {
        ContainerSpec spec = spec_of(script);
        drop_mounts(spec, "/dev/shm");
        MountSpec mount = mount_of("tmpfs", "/dev/shm", {"nosuid", "mode=1777", "size=1m"});
        mount.source = "pod:shm";
        spec.mounts.push_back(mount);
        const auto shared = share_mounts(spec, directory());
        EXPECT_TRUE(shared.has_value()) << shared.error().message();
        return spec;
    }
};

TEST_F(SharedMounts, IsThatOfAllContainersWithTheName) {
    EXPECT_EQ(output_of(spec_with_memory("echo text >/dev/shm/file")), "");
    EXPECT_EQ(output_of(spec_with_memory("cat /dev/shm/file; stat -c %a /dev/shm")),
              "text\n1777\n");
    EXPECT_EQ(output_of(spec_with_memory("df -k /dev/shm | tail -n 1 | awk '{print $2}'")),
              "1024\n");
}

TEST_F(SharedMounts, OtherMountsStayAsTheyAre) {
    ContainerSpec spec = spec_of("true");
    const ContainerSpec before = spec;
    ASSERT_TRUE(share_mounts(spec, directory()).has_value());
    EXPECT_EQ(spec, before);
    EXPECT_NE(::access(directory().c_str(), F_OK), 0);
}

TEST_F(SharedMounts, NamesAreNoPaths) {
    ContainerSpec spec = spec_of("true");
    spec.mounts = {mount_of("tmpfs", "/m", {})};
    spec.mounts[0].source = "pod:../x";
    const auto shared = share_mounts(spec, directory());
    ASSERT_FALSE(shared.has_value());
    EXPECT_EQ(shared.error().message(), "mount '/m': source 'pod:../x'");
}

TEST_F(SharedMounts, ATagIsADirectoryOrAName) {
    ContainerSpec spec = spec_of("true");
    const auto share = [&](const std::string& tag) {
        spec.mounts = {mount_of("bind", "/m", {})};
        spec.mounts[0].tree = TreePath{.tag = tag, .path = "below"};
        return share_mounts(spec, directory());
    };
    ASSERT_TRUE(share("/srv").has_value());
    EXPECT_EQ(spec.mounts[0].tree, (TreePath{.tag = "/srv", .path = "below"}));
    for (const char* tag : {"", "../x", "memory:x", "Files"}) {
        const auto shared = share(tag);
        ASSERT_FALSE(shared.has_value());
        EXPECT_EQ(shared.error().message(), std::string("mount '/m': tag '") + tag + "'");
    }
}

TEST_F(SharedMounts, WhatCannotBeMountedLeavesNothing) {
    ContainerSpec spec = spec_of("true");
    spec.mounts = {mount_of("tmpfs", "/m", {"size=much"})};
    spec.mounts[0].source = "pod:shm";
    ASSERT_FALSE(share_mounts(spec, directory()).has_value());
    EXPECT_NE(::access(place().c_str(), F_OK), 0);
}

}  // namespace
}  // namespace pepita::runtime::guest
