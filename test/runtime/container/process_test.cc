#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"
#include "test/support/container_test.h"

// What becomes of a ProcessSpec, seen from inside.
namespace pepita::runtime::container {
namespace {

using test::ContainerTest;
using Kind = test::ImageEntry::Kind;

constexpr std::uint64_t kChown = 1U << 0U;
constexpr std::uint64_t kNetBindService = 1U << 10U;
constexpr std::uint64_t kSysAdmin = 1U << 21U;

class ContainerProcess : public ContainerTest {};

TEST_F(ContainerProcess, R11_AMissingCommandIsNamedByTheCreation) {
    ContainerSpec spec = spec_of("");
    spec.process.args = {"no-such-program"};
    EXPECT_EQ(refusal_of(spec), "exec 'no-such-program': No such file or directory (ENOENT)");
    spec.process.args = {"/plain/below"};
    EXPECT_EQ(refusal_of(spec), "exec '/plain/below': Not a directory (ENOTDIR)");
    spec.process.args = {"./plain"};
    spec.process.cwd = "/etc";
    EXPECT_EQ(refusal_of(spec), "exec './plain': No such file or directory (ENOENT)");
    spec.process.args = {"./bin/echo", "found"};
    spec.process.cwd = "/";
    EXPECT_EQ(output_of(spec), "found\n");
}

TEST_F(ContainerProcess, R11_ACommandThatCannotBeRunIsNamedByTheCreation) {
    ContainerSpec spec = spec_of("");
    for (const char* path : {"/plain", "/etc"}) {
        spec.process.args = {path};
        EXPECT_EQ(refusal_of(spec), "exec '" + std::string(path) + "': Permission denied (EACCES)");
    }
}

TEST_F(ContainerProcess, WhatOnlyTheKernelCanRefuseIs126) {
    ContainerSpec spec = spec_of("");
    use_image({{.path = "bin/garbage", .content = "no program at all"}});
    spec.process.args = {"garbage"};
    EXPECT_EQ(run(spec)->exec_errno, static_cast<std::uint32_t>(ENOEXEC));
    EXPECT_EQ(run(spec)->status, 126U);
}

TEST_F(ContainerProcess, SearchGoesThroughPathPastFilesThatCannotBeRun) {
    use_image({{.path = "first/tool", .content = "#!/bin/sh\necho first", .mode = 0644},
               {.path = "second/tool", .content = "#!/bin/sh\necho second"}});
    ContainerSpec spec = spec_of("");
    spec.process.args = {"tool"};
    spec.process.env = {"PATH=/not/there:/first:/second"};
    EXPECT_EQ(output_of(spec), "second\n");
    spec.process.env = {"PATH=/not/there:/first"};
    EXPECT_EQ(refusal_of(spec), "exec 'tool': Permission denied (EACCES)");
    spec.process.env = {};  // the default PATH has /bin
    spec.process.args = {"echo", "default"};
    EXPECT_EQ(output_of(spec), "default\n");
}

TEST_F(ContainerProcess, EnvironmentIsTheSpecsWithHomeFromPasswd) {
    ContainerSpec spec = spec_of("");
    spec.process.args = {"env"};
    spec.process.env = {"PATH=/bin", "A=1=2"};
    EXPECT_EQ(output_of(spec), "PATH=/bin\nA=1=2\nHOME=/root\n");
    spec.process.uid = 1000;
    EXPECT_EQ(output_of(spec), "PATH=/bin\nA=1=2\nHOME=/home/web\n");
    spec.process.uid = 77;
    EXPECT_EQ(output_of(spec), "PATH=/bin\nA=1=2\nHOME=/\n");
    spec.process.env = {"PATH=/bin", "HOME=/given"};
    EXPECT_EQ(output_of(spec), "PATH=/bin\nHOME=/given\n");
}

TEST_F(ContainerProcess, R36_AnEmptyHomeIsThePasswds) {
    ContainerSpec spec = spec_of("");
    spec.process.args = {"env"};
    spec.process.env = {"HOME=", "PATH=/bin"};
    EXPECT_EQ(output_of(spec), "HOME=/root\nPATH=/bin\n");
}

TEST_F(ContainerProcess, UserGroupsAndUmaskAreTheSpecs) {
    ContainerSpec spec = spec_of("id -u; id -g; id -G; umask");
    spec.process.uid = 1000;
    spec.process.gid = 1001;
    spec.process.additional_gids = {5, 6};
    EXPECT_EQ(output_of(spec), "1000\n1001\n1001 5 6\n0022\n");
    spec.process.umask = 0077;
    EXPECT_EQ(output_of(spec), "1000\n1001\n1001 5 6\n0077\n");
}

TEST_F(ContainerProcess, AUserCanOpenItsStandardStreamsByName) {
    ContainerSpec spec = spec_of("echo out > /dev/stdout; echo err > /dev/stderr");
    spec.process.uid = 1000;
    const auto ran = run(spec);
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->out, "out\n");
    EXPECT_EQ(ran->err, "err\n");
}

TEST_F(ContainerProcess, CapabilitiesAreExactlyTheSpecs) {
    ContainerSpec spec = spec_of("exec grep Cap /proc/self/status");
    spec.process.capabilities = {.bounding = kChown | kNetBindService | kSysAdmin,
                                 .effective = kChown,
                                 .inheritable = 0,
                                 .permitted = kChown | kNetBindService,
                                 .ambient = 0};
    // execve(2) of root: all that is in the bounding set.
    EXPECT_EQ(output_of(spec),
              "CapInh:\t0000000000000000\nCapPrm:\t0000000000200401\nCapEff:\t0000000000200401\n"
              "CapBnd:\t0000000000200401\nCapAmb:\t0000000000000000\n");
    spec.process.uid = 1000;
    EXPECT_EQ(output_of(spec),
              "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
              "CapBnd:\t0000000000200401\nCapAmb:\t0000000000000000\n");
}

TEST_F(ContainerProcess, AmbientCapabilitiesOutliveExecOfAUser) {
    ContainerSpec spec = spec_of("exec grep Cap /proc/self/status");
    spec.process.uid = 1000;
    spec.process.capabilities = {.bounding = kNetBindService,
                                 .effective = kNetBindService,
                                 .inheritable = kNetBindService,
                                 .permitted = kNetBindService,
                                 .ambient = kNetBindService};
    EXPECT_EQ(output_of(spec),
              "CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n"
              "CapBnd:\t0000000000000400\nCapAmb:\t0000000000000400\n");
}

TEST_F(ContainerProcess, WithoutCapabilitiesItHasNone) {
    ContainerSpec spec = spec_of("exec grep -c 'Cap.*:.*0000000000000000' /proc/self/status");
    spec.process.capabilities.reset();
    EXPECT_EQ(output_of(spec), "5\n");
}

TEST_F(ContainerProcess, R13_AmbientWithoutInheritableRunsWithWhatCanBeRaised) {
    ContainerSpec spec = spec_of("exec grep -E 'Cap(Amb|Bnd)' /proc/self/status");
    spec.process.uid = 1000;
    spec.process.capabilities = {.bounding = kChown | kNetBindService,
                                 .effective = kChown | kNetBindService,
                                 .inheritable = 0,
                                 .permitted = kChown | kNetBindService,
                                 .ambient = kChown | kNetBindService};
    EXPECT_EQ(output_of(spec), "CapBnd:\t0000000000000401\nCapAmb:\t0000000000000000\n");
    spec.process.capabilities->inheritable = kNetBindService;
    EXPECT_EQ(output_of(spec), "CapBnd:\t0000000000000401\nCapAmb:\t0000000000000400\n");
}

TEST_F(ContainerProcess, NoNewPrivilegesIsSetWhenAsked) {
    ContainerSpec spec = spec_of("exec grep NoNewPrivs /proc/self/status");
    EXPECT_EQ(output_of(spec), "NoNewPrivs:\t0\n");
    spec.process.no_new_privileges = true;
    EXPECT_EQ(output_of(spec), "NoNewPrivs:\t1\n");
}

TEST_F(ContainerProcess, RlimitsAndOomScoreAreTheSpecs) {
    ContainerSpec spec =
        spec_of("ulimit -S -n; ulimit -H -n; ulimit -c; cat /proc/self/oom_score_adj");
    spec.process.rlimits = {{.resource = RLIMIT_NOFILE, .soft = 64, .hard = 128},
                            {.resource = RLIMIT_CORE, .soft = 0, .hard = 0}};
    spec.process.oom_score_adj = 321;
    EXPECT_EQ(output_of(spec), "64\n128\n0\n321\n");
}

TEST_F(ContainerProcess, AnRlimitOfTheWrongOrderIsNamed) {
    ContainerSpec spec = spec_of("true");
    spec.process.rlimits = {{.resource = RLIMIT_NOFILE, .soft = 2, .hard = 1}};
    const auto ran = run(spec);
    ASSERT_FALSE(ran.has_value());
    EXPECT_EQ(ran.error().message(), "set RLIMIT_NOFILE: Invalid argument (EINVAL)");
}

TEST_F(ContainerProcess, WorkingDirectoryIsEnteredAndMadeIfMissing) {
    ContainerSpec spec = spec_of("readlink /proc/self/cwd");
    spec.process.args = {"readlink", "/proc/self/cwd"};
    spec.process.cwd = "/home/web";
    EXPECT_EQ(output_of(spec), "/home/web\n");
    spec.process.cwd = "/srv/new/place";
    EXPECT_EQ(output_of(spec), "/srv/new/place\n");
}

TEST_F(ContainerProcess, WorkingDirectoryThatTheUserMayNotEnterIsEnteredByRoot) {
    use_image({{.kind = Kind::Directory, .path = "closed", .content = {}, .mode = 0700}});
    ContainerSpec spec = spec_of("");
    spec.process.args = {"readlink", "/proc/self/cwd"};
    spec.process.cwd = "/closed";
    spec.process.uid = 1000;
    EXPECT_EQ(output_of(spec), "/closed\n");
}

TEST_F(ContainerProcess, BadWorkingDirectoryIsNamed) {
    ContainerSpec spec = spec_of("true");
    spec.process.cwd = "/plain";
    EXPECT_EQ(run(spec).error().message(),
              "working directory: open '/plain': Not a directory (ENOTDIR)");
    spec.root = {.disk = DiskId{.serial = "disk0"}, .written_to = WrittenTo::Nothing};
    spec.process.cwd = "/not/there";
    EXPECT_EQ(run(spec).error().message(),
              "working directory: open '/not/there': No such file or directory (ENOENT)");
    spec.process.cwd = "relative";
    EXPECT_EQ(run(spec).error().message(), "working directory 'relative' is not an absolute path");
}

TEST_F(ContainerProcess, WorkingDirectoryIsNeverOneOfTheParents) {
    // A directory that the parent has open, and the way to it that procfs offers (CVE-2024-21626).
    const Fd directory = *open_file("/", O_RDONLY | O_DIRECTORY);
    constexpr int kNumber = 50;  // that the child does not come to use again
    const Fd numbered(::fcntl(directory.ref().number(), F_DUPFD_CLOEXEC, kNumber));
    ASSERT_EQ(numbered.ref().number(), kNumber);
    ContainerSpec spec = spec_of("true");
    spec.process.cwd = "/proc/self/fd/" + std::to_string(kNumber);
    EXPECT_EQ(run(spec).error().message(), "working directory: open '" + spec.process.cwd +
                                               "': No such file or directory (ENOENT)");
    spec.process.cwd = "/proc/self/root";
    EXPECT_EQ(run(spec).error().message(),
              "working directory: open '/proc/self/root': Too many levels of symbolic links "
              "(ELOOP)");
}

TEST_F(ContainerProcess, WithoutAProgramItIsRefused) {
    ContainerSpec spec = spec_of("true");
    spec.process.args.clear();
    EXPECT_EQ(refusal_of(spec), "a process needs a program to run");
}

}  // namespace
}  // namespace pepita::runtime::container
