#include "runtime/container/namespaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/container_test.h"

namespace pepita::runtime::container {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class ContainerNamespaces : public test::ContainerTest {
protected:
    // A container in a user namespace whose ids begin at 100000.
    static ContainerSpec mapped(const std::string& script) {
        ContainerSpec spec = spec_of(script);
        spec.mounts.push_back(mount_of("sysfs", "/sys", {"ro", "nosuid"}));
        spec.namespaces.user = true;
        spec.namespaces.uid_mappings = {{.container_id = 0, .host_id = 100'000, .size = 65'536}};
        spec.namespaces.gid_mappings = {{.container_id = 0, .host_id = 200'000, .size = 65'536}};
        return spec;
    }

    // What `spec` says when it may join the namespaces of a container "other" that runs `script`.
    std::string output_beside(const ContainerSpec& other, const ContainerSpec& spec) {
        ContainerSpec named = other;
        named.id = "other";
        auto running = create(named);
        if (!running) {
            return running.error().message();
        }
        if (const auto started = (*running)->process().start(); !started) {
            return started.error().message();
        }
        joined_.emplace("other", (*running)->process().pidfd());
        const auto ran = run(spec);
        std::string out = ran ? ran->out + ran->err : ran.error().message();
        (void)(*running)->signal_all(SIGKILL).has_value();
        (void)test::reap_status((*running)->process().pid());
        EXPECT_TRUE((*running)->remove().has_value());
        return out;
    }
};

TEST_F(ContainerNamespaces, ATimeNamespaceHasItsOffsets) {
    ContainerSpec spec = spec_of("cut -d. -f1 /proc/uptime");
    spec.namespaces.time = true;
    spec.namespaces.boottime = ClockOffset{.seconds = 1'000'000'000};
    spec.namespaces.monotonic = ClockOffset{.seconds = 5, .nanoseconds = 7};
    const std::string uptime = output_of(spec);
    EXPECT_EQ(uptime.size(), 11U) << uptime;
    EXPECT_THAT(uptime, StartsWith("100"));
    // The caller's own children are in its namespace again.
    EXPECT_LT(output_of("cut -d. -f1 /proc/uptime").size(), 11U);
}

TEST_F(ContainerNamespaces, AProcessThatIsExecutedIsInTheTimeNamespace) {
    ContainerSpec spec = spec_of("sleep 600");
    spec.namespaces.time = true;
    spec.namespaces.boottime = ClockOffset{.seconds = 1'000'000'000};
    auto container = create(spec);
    ASSERT_TRUE(container.has_value()) << container.error().message();
    const auto ran = exec(**container, process_of("cut -d. -f1 /proc/uptime"));
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_THAT(ran->out, StartsWith("100"));
    ASSERT_TRUE((*container)->remove().has_value());
    (void)test::reap_status((*container)->process().pid());
}

TEST_F(ContainerNamespaces, RootOfAUserNamespaceIsNobodyOutside) {
    EXPECT_EQ(output_of(mapped("id -u; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; "
                               "touch /dev/shm-x && stat -c %u /dev/shm-x")),
              "0\n 0 100000 65536\n 0 200000 65536\n0\n");
}

TEST_F(ContainerNamespaces, AUserNamespaceHasEveryMountAndDevice) {
    ContainerSpec spec = mapped(
        "for d in proc sys dev dev/pts; do grep -q \" /$d \" /proc/mounts || echo no $d; done; "
        "cat /proc/1/comm; ls -d /sys/class/net/lo; echo x > /dev/null; head -c 2 /dev/zero | wc "
        "-c; "
        "stat -c '%t:%T' /dev/null; hostname; readlink /dev/ptmx; echo out > /dev/stdout");
    spec.hostname = "mapped";
    spec.sysctls = {{.name = "net.ipv4.ip_unprivileged_port_start", .value = "80"}};
    EXPECT_EQ(output_of(spec), "sh\n/sys/class/net/lo\n2\n1:3\nmapped\npts/ptmx\nout\n");
}

// The old root is there while the mounts are made.
TEST_F(ContainerNamespaces, LinksThatClimbOutOfTheRootOfAUserNamespaceStayInIt) {
    use_image({{.kind = test::ImageEntry::Kind::Link,
                .path = "up",
                .content = "../../../../../../../dev"}});
    ContainerSpec spec = mapped("grep -c ' /dev/pepita-made ' /proc/mounts");
    spec.mounts.push_back(mount_of("tmpfs", "/up/pepita-made", {}));
    EXPECT_EQ(output_of(spec), "1\n");
}

TEST_F(ContainerNamespaces, AUserNamespaceOnTheNetworkOfItsParentSeesSys) {
    ContainerSpec spec = mapped("ls -d /sys/class; touch /sys/x 2>/dev/null || echo read-only");
    spec.namespaces.network = false;
    EXPECT_EQ(output_of(spec), "/sys/class\nread-only\n");
}

TEST_F(ContainerNamespaces, AUserNamespaceOnTheIpcOfItsParentSeesItsQueues) {
    ContainerSpec spec = mapped("grep -c ' /tmp/[ab] mqueue ' /proc/mounts");
    spec.mounts.push_back(mount_of("tmpfs", "/tmp", {}));
    spec.mounts.push_back(mount_of("mqueue", "/tmp/a", {"nosuid", "noexec", "nodev"}));
    spec.mounts.push_back(mount_of("mqueue", "/tmp/b", {"nosuid", "noexec", "nodev"}));
    spec.namespaces.ipc = false;
    EXPECT_EQ(output_of(spec), "2\n");
}

TEST_F(ContainerNamespaces, AnImageWithMappedIdsIsOfItsRoot) {
    image_devices_["data"] = image->device();
    ContainerSpec spec = mapped("stat -c %u:%g / /secret");
    EXPECT_EQ(output_of(spec), "65534:65534\n65534:65534\n");
    spec = mapped(
        "stat -c %u:%g / /secret /data/file; echo more >> /secret && cat /secret; "
        "touch /new && stat -c %u:%g /new");
    spec.mounts.push_back({.destination = "/data",
                           .type = std::string(MountSpec::kImage),
                           .source = "folder",
                           .options = {"ro"},
                           .disk = DiskId{.serial = "data"}});
    spec.root.maps_ids = true;
    EXPECT_EQ(output_of(spec), "0:0\n0:0\n0:0\nhidden\nmore\n0:0\n");
    spec.namespaces.user = false;
    EXPECT_EQ(refusal_of(spec), "mapped ids of a root need a disk and a user namespace");
}

TEST_F(ContainerNamespaces, LimitsOfAUserNamespaceAreRaisedFromOutside) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit lower{.rlim_cur = before.rlim_max - 1, .rlim_max = before.rlim_max - 1};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lower), 0);
    if (::setrlimit(RLIMIT_NOFILE, &before) != 0) {
        GTEST_SKIP() << "needs CAP_SYS_RESOURCE";
    }
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lower), 0);
    ContainerSpec spec = mapped("ulimit -Hn; ulimit -n");
    spec.process.rlimits = {{.resource = RLIMIT_NOFILE, .soft = 50, .hard = before.rlim_max}};
    EXPECT_EQ(output_of(spec), std::to_string(before.rlim_max) + "\n50\n");
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST_F(ContainerNamespaces, AProcessIsExecutedInTheUserNamespace) {
    auto container = create(mapped("sleep 600"));
    ASSERT_TRUE(container.has_value()) << container.error().message();
    ProcessSpec process = process_of("id -u; tr -s ' ' < /proc/self/uid_map");
    process.uid = 7;
    const auto ran = exec(**container, process);
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->out, "7\n 0 100000 65536\n");
    ASSERT_TRUE((*container)->remove().has_value());
    (void)test::reap_status((*container)->process().pid());
}

TEST_F(ContainerNamespaces, AUserThatIsNotMappedIsRefused) {
    ContainerSpec spec = mapped("true");
    spec.process.uid = 70'000;
    EXPECT_EQ(refusal_of(spec), "user 70000 is not mapped into the user namespace");
    spec.process.uid = 0;
    spec.namespaces.uid_mappings.push_back({.container_id = 1, .host_id = 0, .size = 1});
    EXPECT_THAT(refusal_of(spec), HasSubstr("map user ids"));
}

TEST_F(ContainerNamespaces, NamespacesOfAnotherContainerAreJoined) {
    ContainerSpec other = spec_of("sleep 600");
    other.hostname = "first";
    other.sysctls = {{.name = "kernel.shmmni", .value = "17"}};
    ContainerSpec spec = spec_of("hostname; cat /proc/sys/kernel/shmmni");
    spec.namespaces.ipc = spec.namespaces.uts = false;
    spec.namespaces.ipc_of = spec.namespaces.uts_of = "other";
    EXPECT_EQ(output_beside(other, spec), "first\n17\n");
}

TEST_F(ContainerNamespaces, ThePidNamespaceOfAnotherContainerIsJoined) {
    if (cgroup_directory_.empty()) {
        GTEST_SKIP() << "its processes are found by a cgroup, and there is no cgroup v2";
    }
    ContainerSpec spec = spec_of("cat /proc/1/comm; sleep 600 & echo $$");
    spec.namespaces.pid = false;
    spec.namespaces.pid_of = "other";
    EXPECT_THAT(output_beside(spec_of("sleep 600"), spec), StartsWith("sleep\n"));
}

TEST_F(ContainerNamespaces, AContainerThatIsNotThereCannotBeJoined) {
    ContainerSpec spec = spec_of("true");
    spec.namespaces.ipc = false;
    spec.namespaces.ipc_of = "absent";
    EXPECT_EQ(refusal_of(spec),
              "container 'absent', whose namespace is to be joined, is not running");
}

}  // namespace
}  // namespace pepita::runtime::container
