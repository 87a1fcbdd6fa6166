#include "runtime/oci/host_cgroup.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime::oci {
namespace {

std::string place_of(const std::string& path) {
    const auto place = cgroup_place(path);
    return place ? *place : "refused: " + place.error().message();
}

TEST(HostCgroup, R10_PlacesOfEachSpelling) {
    EXPECT_EQ(place_of("/kubepods/pod1/c1"), "/kubepods/pod1/c1");
    EXPECT_EQ(place_of("a//b/."), "/a/b");
    EXPECT_EQ(place_of("user.slice:libpod:abc"), "/user.slice/libpod-abc.scope");
    EXPECT_EQ(place_of(":docker:abc"), "/system.slice/docker-abc.scope");
    EXPECT_EQ(place_of("kubepods-burstable-pod1.slice:cri-containerd:c1"),
              "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/"
              "cri-containerd-c1.scope");
    EXPECT_EQ(place_of("-.slice:x:y"), "/x-y.scope");
}

TEST(HostCgroup, R10_PlacesThatAreNone) {
    EXPECT_EQ(place_of("/a/../../etc"), "refused: must not contain '..'");
    EXPECT_EQ(place_of("/"), "refused: must not be the root");
    EXPECT_EQ(place_of("user:x:y"), "refused: 'user' is no slice");
    EXPECT_EQ(place_of("a--b.slice:x:y"), "refused: 'a--b.slice' is no slice");
    EXPECT_EQ(place_of("user.slice:x:"), "refused: 'x-' is no scope");
    EXPECT_EQ(place_of("user.slice:x:a/b"), "refused: 'x-a/b' is no scope");
}

TEST(HostCgroup, R10_FindsTheMountsOfBothVersions) {
    const std::vector<CgroupMount> mounts = cgroup_mounts(
        "30 25 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "31 30 0:28 / /sys/fs/cgroup/cpuset rw,relatime shared:9 - cgroup cgroup rw,cpuset\n"
        "32 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
        "33 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "garbage\n"
        "34 30 0:31 / /proc rw - proc\n");
    EXPECT_EQ(mounts, (std::vector<CgroupMount>{
                          {.path = "/sys/fs/cgroup/cpuset",
                           .root = "/",
                           .options = "rw,cpuset",
                           .has_cpuset_v1 = true},
                          {.path = "/sys/fs/cgroup/pids", .root = "/", .options = "rw,pids"},
                          {.path = "/sys/fs/cgroup/unified"}}));
}

TEST(HostCgroup, FindsTheGroupsOfAProcess) {
    const std::vector<CgroupMount> mounts{
        {.path = "/c/cpu", .root = "/", .options = "rw,cpu,cpuacct"},
        {.path = "/c/systemd", .root = "/docker/1", .options = "rw,xattr,name=systemd"},
        {.path = "/c/pids", .root = "/docker/1", .options = "rw,pids"},
        {.path = "/c/unified"}};
    EXPECT_EQ(cgroups_of(mounts,
                         "9:pids:/docker/12\n3:cpu,cpuacct:/a/b\n1:name=systemd:/docker/1/x\n"
                         "garbage\n0::/\n"),
              (std::vector<std::string>{"/c/cpu/a/b", "/c/systemd/x", "/c/unified"}))
        << "that of pids is not below what is mounted";
}

// Directories in place of hierarchies.
class HostCgroupTest : public testing::Test {
protected:
    void SetUp() override { ASSERT_NE(::mkdtemp(root_.data()), nullptr); }
    void TearDown() override {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }
    std::string mount(const std::string& name) const {
        std::filesystem::create_directories(root_ + "/" + name);
        return root_ + "/" + name;
    }
    std::string root_ = "/tmp/pepita-cgroup-XXXXXX";
};

TEST_F(HostCgroupTest, R10_MakesAndRemovesAGroupInEachHierarchy) {
    const std::vector<CgroupMount> mounts{{.path = mount("pids")}, {.path = mount("memory")}};
    const auto made = make_cgroups(mounts, "/pods/web");
    const std::vector<std::string> groups{root_ + "/pids/pods/web", root_ + "/memory/pods/web"};
    EXPECT_EQ(made.value().groups, groups);
    EXPECT_EQ(made.value().made,
              (std::vector<std::string>{root_ + "/pids/pods", root_ + "/pids/pods/web",
                                        root_ + "/memory/pods", root_ + "/memory/pods/web"}));
    EXPECT_TRUE(std::filesystem::is_directory(root_ + "/memory/pods/web"));
    const auto again = make_cgroups(mounts, "/pods/web");
    EXPECT_EQ(again.value().groups, groups) << "it is there already";
    EXPECT_EQ(again.value().made, std::vector<std::string>());
    remove_cgroups(groups);
    EXPECT_FALSE(std::filesystem::exists(root_ + "/memory/pods/web"));
    EXPECT_TRUE(std::filesystem::exists(root_ + "/memory/pods")) << "others may use it";
}

TEST_F(HostCgroupTest, R10_OneThatCannotBeMadeLeavesNone) {
    const std::string file = mount("pids") + "/pods";
    const std::vector<CgroupMount> mounts{{.path = mount("memory")}, {.path = mount("pids")}};
    std::ofstream(file) << "no directory";
    const auto groups = make_cgroups(mounts, "/pods/web");
    EXPECT_EQ(groups.error().message(),
              "make cgroup '" + file + "/web': Not a directory (ENOTDIR)");
    EXPECT_FALSE(std::filesystem::exists(root_ + "/memory/pods"));
}

TEST_F(HostCgroupTest, R10_NewGroupsOfCpusetGetTheirParentsCpus) {
    const std::string root = mount("cpuset");
    std::ofstream(root + "/cpuset.cpus") << "0-1\n";
    std::ofstream(root + "/cpuset.mems") << "0\n";
    // The kernel makes these files; here there is none to write to.
    EXPECT_FALSE(
        make_cgroups(std::vector<CgroupMount>{{.path = root, .has_cpuset_v1 = true}}, "/web")
            .has_value());
}

TEST(HostCgroup, R10_EntersGroupsOfThisMachine) {
    const auto groups = make_cgroups("/pepita-unit-test-" + std::to_string(::getpid()));
    if (!groups) {
        GTEST_SKIP() << groups.error().message();
    }
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(enter_cgroups(*groups).has_value() ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    remove_cgroups(*groups);
    for (const std::string& group : *groups) {
        EXPECT_FALSE(std::filesystem::exists(group)) << group;
    }
}

}  // namespace
}  // namespace pepita::runtime::oci
