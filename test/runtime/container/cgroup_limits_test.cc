#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "runtime/container.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/engine.h"
#include "test/support/container_test.h"

namespace pepita::runtime::container {
namespace {

using test::ContainerTest;
using test::PipeEnds;
using test::reap_status;

constexpr const char* kHierarchy = "/sys/fs/cgroup";

// In a cgroup of its own below the root of cgroup v2, which the lab has and gives us.
class ContainerCgroup : public ContainerTest {
protected:
    void SetUp() override {
        const auto controllers = read_file(std::string(kHierarchy) + "/cgroup.controllers");
        for (const char* name : {"cpu", "memory", "pids"}) {
            if (!controllers || !controllers->contains(name)) {
                GTEST_SKIP() << "no cgroup v2 with a " << name << " controller at " << kHierarchy
                             << ": run it in the lab";
            }
        }
        ContainerTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        (void)write_file(std::string(kHierarchy) + "/cgroup.subtree_control", "+cpu +memory +pids")
            .has_value();
        cgroup_directory_ = std::string(kHierarchy) + "/pepita-test-" + std::to_string(::getpid());
        ASSERT_EQ(::mkdir(cgroup_directory_.c_str(), 0755), 0);
        const auto enabled =
            write_file(cgroup_directory_ + "/cgroup.subtree_control", "+cpu +memory +pids");
        ASSERT_TRUE(enabled.has_value()) << enabled.error().message();
    }

    void TearDown() override {
        if (!cgroup_directory_.empty()) {
            EXPECT_EQ(::rmdir(cgroup_directory_.c_str()), 0) << "a cgroup is left";
        }
        ContainerTest::TearDown();
    }

    static ContainerSpec cgroup_spec(const std::string& script) {
        ContainerSpec spec = spec_of(script);
        spec.mounts.push_back(mount_of("sysfs", "/sys", {"nosuid", "noexec", "nodev"}));
        spec.mounts.push_back(mount_of("cgroup", "/sys/fs/cgroup", {"nosuid", "noexec", "nodev"}));
        return spec;
    }
};

TEST_F(ContainerCgroup, LimitsAreWhatTheContainerSees) {
    ContainerSpec spec = cgroup_spec(
        "cat /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max pids.max cpu.weight cpu.max");
    spec.resources.memory_limit_bytes = 64 << 20;
    spec.resources.pids_limit = 17;
    spec.resources.cpu_shares = 1024;
    spec.resources.cpu_quota_us = 50'000;
    EXPECT_EQ(output_of(spec), "0::/\n67108864\n17\n100\n50000 100000\n");
    spec.resources = {};
    spec.resources.memory_limit_bytes = -1;
    spec.resources.pids_limit = 0;
    EXPECT_EQ(output_of(spec), "0::/\nmax\nmax\n100\nmax 100000\n");
}

TEST_F(ContainerCgroup, PidsLimitHolds) {
    ContainerSpec spec = cgroup_spec("for i in 1 2 3 4 5 6 7 8 9; do sleep 30 & done; echo all");
    spec.resources.pids_limit = 4;
    const auto ran = run(spec);
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->out, "");
    EXPECT_NE(ran->err.find("can't fork"), std::string::npos) << ran->err;
}

TEST_F(ContainerCgroup, MemoryLimitKills) {
    ContainerSpec spec = cgroup_spec("dd if=/dev/zero of=/dev/shm bs=1M count=64");
    spec.mounts.push_back(mount_of("tmpfs", "/fill", {"size=256m"}));
    spec.process.args = {"dd", "if=/dev/zero", "of=/fill/x", "bs=1M", "count=128"};
    spec.resources.memory_limit_bytes = 16 << 20;
    EXPECT_EQ(run(spec)->status, 128U + SIGKILL);
}

TEST_F(ContainerCgroup, DeviceRulesAllowAndDeny) {
    ContainerSpec spec =
        cgroup_spec("cd /dev; head -c 1 zero | wc -c; head -c 1 mem 2>&1; : < kmsg && echo kmsg");
    spec.process.capabilities = {.bounding = 1U << 17U | 1ULL << 34U,  // CAP_SYS_RAWIO, CAP_SYSLOG
                                 .effective = 1U << 17U | 1ULL << 34U,
                                 .inheritable = 0,
                                 .permitted = 1U << 17U | 1ULL << 34U,
                                 .ambient = 0};
    spec.devices = {{.path = "/dev/mem", .major = 1, .minor = 1},
                    {.path = "/dev/kmsg", .major = 1, .minor = 11}};
    spec.resources.devices = {
        {.allow = false, .type = 'a', .major = {}, .minor = {}, .access = "rwm"},
        {.allow = true, .type = 'c', .major = 1, .minor = 11, .access = "r"}};
    EXPECT_EQ(output_of(spec), "1\nhead: mem: Operation not permitted\nkmsg\n");
}

TEST_F(ContainerCgroup, ExecIsInTheContainersCgroup) {
    auto container = create(cgroup_spec("exec sleep 1000"));
    ASSERT_TRUE(container.has_value()) << container.error().message();
    ASSERT_EQ((*container)->process().start().value_or(99), 0U);
    const auto ran = exec(**container, process_of("cat /proc/self/cgroup"));
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->out, "0::/\n");
    EXPECT_TRUE((*container)->remove().has_value());
    EXPECT_EQ(reap_status((*container)->process().pid()), 128U + SIGKILL);
}

TEST_F(ContainerCgroup, RemovingEndsProcessesOutsideOfAPidNamespaceToo) {
    PipeEnds pipe = test::make_pipe();
    ContainerSpec spec = cgroup_spec("sleep 1000 & echo up; exit 0");
    spec.namespaces.pid = false;
    auto container = create(spec, {.in = Fd(), .out = std::move(pipe.in), .err = Fd()});
    ASSERT_TRUE(container.has_value()) << container.error().message();
    ASSERT_EQ((*container)->process().start().value_or(99), 0U);
    EXPECT_EQ(reap_status((*container)->process().pid()), 0U);
    EXPECT_TRUE((*container)->remove().has_value());
    EXPECT_EQ(test::read_to_end(pipe.out.ref()), "up\n");  // ends: nobody holds it any more
}

TEST_F(ContainerCgroup, CgroupsThatTheContainerMadeGoWithIt) {
    ContainerSpec spec = cgroup_spec(
        "mkdir -p /sys/fs/cgroup/a/b /sys/fs/cgroup/c; sleep 1000 & "
        "echo $! > /sys/fs/cgroup/a/b/cgroup.procs && echo moved");
    EXPECT_EQ(output_of(spec), "moved\n");
}

TEST_F(ContainerCgroup, SignalReachesThoseInCgroupsBelow) {
    PipeEnds pipe = test::make_pipe();
    auto container = create(
        cgroup_spec("mkdir /sys/fs/cgroup/a; sh -c 'echo $$ > /sys/fs/cgroup/a/cgroup.procs; "
                    "trap \"echo below; exit\" USR1; echo up; while :; do sleep 0.05; done' & "
                    "trap '' USR1; wait"),
        {.in = Fd(), .out = std::move(pipe.in), .err = Fd()});
    ASSERT_TRUE(container.has_value()) << container.error().message();
    ASSERT_EQ((*container)->process().start().value_or(99), 0U);
    std::string up(3, '\0');
    ASSERT_EQ(::read(pipe.out.ref().number(), up.data(), up.size()), 3);
    EXPECT_TRUE((*container)->signal_all(SIGUSR1).has_value());
    EXPECT_EQ(test::read_to_end(pipe.out.ref()), "below\n");
    EXPECT_EQ(reap_status((*container)->process().pid()), 0U);
}

TEST_F(ContainerCgroup, NestingEndsAtItsLimit) {
    ContainerSpec spec = cgroup_spec(
        "cd /sys/fs/cgroup; n=0; while mkdir x 2>/dev/null; do cd x; n=$((n+1)); done; echo $n");
    EXPECT_EQ(output_of(spec), std::to_string(kCgroupDepthMax) + "\n");
}

TEST_F(ContainerCgroup, OneWithProcessesIsNamedAndLeftAloneAndAnEmptyOneIsTaken) {
    const std::string taken = cgroup_directory_ + "/web";
    ASSERT_EQ(::mkdir(taken.c_str(), 0755), 0);
    const pid_t other = ::fork();
    if (other == 0) {
        ::pause();
        ::_exit(0);
    }
    std::ofstream(taken + "/cgroup.procs") << other << std::flush;
    EXPECT_EQ(refusal_of(cgroup_spec("true")), "make cgroup '" + taken + "': File exists (EEXIST)");
    EXPECT_EQ(::kill(other, SIGKILL), 0);
    EXPECT_EQ(reap_status(other), 128U + SIGKILL);
    EXPECT_EQ(output_of(cgroup_spec("echo in")), "in\n");
}

TEST_F(ContainerCgroup, AMissingControllerIsNamed) {
    ASSERT_TRUE(write_file(cgroup_directory_ + "/cgroup.subtree_control", "-pids").has_value());
    ContainerSpec spec = cgroup_spec("true");
    spec.resources.pids_limit = 4;
    EXPECT_EQ(refusal_of(spec), "limit 'pids.max': the cgroup has no such controller");
}

}  // namespace
}  // namespace pepita::runtime::container
