#include "runtime/container/engine.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "runtime/container.h"
#include "test/support/container_fixture.h"
#include "test/support/loop_image.h"

namespace pepita::runtime::container {
namespace {

using testing::AnyOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

using EngineTest = test::ContainerFixture;

TEST_F(EngineTest, TheStatusIsThePrograms) {
    EXPECT_EQ(run(shell("exit 0")).status, 0);
    EXPECT_EQ(run(shell("exit 42")).status, 42);
}

TEST_F(EngineTest, ItIsProcessOneOfItsOwnAndSeesNoOther) {
    EXPECT_EQ(run(shell("echo $$; cat /proc/1/comm; echo /proc/[0-9]*")).output,
              "1\nsh\n/proc/1\n");
}

TEST_F(EngineTest, ItsHostnameIsNotTheHosts) {
    std::array<char, 65> before{};
    ASSERT_EQ(::gethostname(before.data(), before.size()), 0);
    ContainerSpec spec = shell("hostname; cat /proc/sys/kernel/domainname");
    spec.hostname = "inside";
    spec.domainname = "domain";
    EXPECT_EQ(run(spec).output, "inside\ndomain\n");
    std::array<char, 65> after{};
    ASSERT_EQ(::gethostname(after.data(), after.size()), 0);
    EXPECT_EQ(before, after);
}

TEST_F(EngineTest, ItHasItsOwnNetworkWithALoopback) {
    EXPECT_EQ(run(shell("grep -c : /proc/net/dev; cat /proc/net/route | grep -c 0000")).output,
              "1\n0\n");
}

TEST_F(EngineTest, SysctlsAreSetInItsNamespacesAlone) {
    ContainerSpec spec = shell("cat /proc/sys/kernel/msgmax");
    spec.sysctls = {{.name = "kernel.msgmax", .value = "4711"}};
    EXPECT_EQ(run(spec).output, "4711\n");
    EXPECT_NE(run(shell("cat /proc/sys/kernel/msgmax")).output, "4711\n");
}

TEST_F(EngineTest, AMaskedFileReadsEmptyAndAMaskedFolderIsEmpty) {
    ContainerSpec spec = shell("cat /secret; ls /folder; echo end");
    spec.masked_paths = {"/secret", "/folder", "/absent", "/secret/below"};
    EXPECT_EQ(run(spec).output, "end\n");
}

TEST_F(EngineTest, AMaskThatCannotBeMadeIsAnError) {
    ContainerSpec spec = shell("cat /secret");
    spec.root = {.disk = DiskId{.serial = "disk0"}, .written_to = WrittenTo::Nothing};
    spec.mounts.clear();  // so there is no /dev/null
    spec.masked_paths = {"/secret"};
    const auto container = create(spec);
    ASSERT_FALSE(container.has_value());
    EXPECT_EQ(container.error().message(),
              "mask '/secret': open '/dev/null': No such file or directory (ENOENT)");
}

TEST_F(EngineTest, AReadOnlyPathRefusesWritesAndItsNeighboursDoNot) {
    ContainerSpec spec = shell("touch /etc/x; touch /folder/x && echo written");
    spec.read_only_paths = {"/folder", "/absent"};
    const std::string output = run(spec).output;
    EXPECT_THAT(output, HasSubstr("/folder/x: Read-only file system"));
    EXPECT_THAT(output, Not(HasSubstr("/etc/x")));
    EXPECT_THAT(output, Not(HasSubstr("written")));
}

TEST_F(EngineTest, AReadOnlyRootRefusesWrites) {
    ContainerSpec spec = shell("touch /x; echo > /dev/null; touch /dev/x && echo dev");
    spec.root_read_only = true;
    EXPECT_EQ(run(spec).output, "touch: /x: Read-only file system\ndev\n");
}

TEST_F(EngineTest, WhatIsWrittenGoesWithTheContainer) {
    EXPECT_EQ(run(shell("echo new > /secret; cat /secret")).output, "new\n");
    EXPECT_EQ(run(shell("cat /secret")).output, "hidden\n");
}

TEST_F(EngineTest, WhatIsWrittenFillsTheScratchDeviceAndNoMore) {
    const auto scratch = test::LoopImage::create_empty(16_MiB);
    ASSERT_TRUE(scratch.has_value()) << scratch.error().message();
    scratch_device_ = (*scratch)->device();
    const std::string output =
        run(shell("dd if=/dev/zero of=/fill bs=1M count=17 || echo $?; echo > /dev/null && "
                  "echo device; cat /secret"))
            .output;
    EXPECT_THAT(output, HasSubstr("No space left on device"));
    EXPECT_THAT(output, EndsWith("1\ndevice\nhidden\n"));
}

TEST_F(EngineTest, AScratchDeviceServesOneContainerOnly) {
    const auto scratch = test::LoopImage::create_empty(16_MiB);
    ASSERT_TRUE(scratch.has_value()) << scratch.error().message();
    scratch_device_ = (*scratch)->device();
    const auto before = count_all();
    EXPECT_EQ(run(shell("echo mine > /kept")).status, 0);
    const auto second = create(shell("cat /kept"));
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), Code::AlreadyExists);
    EXPECT_THAT(second.error().message(),
                StartsWith("root file system: make '/upper' for what is"));
    EXPECT_EQ(count_all(), before);
}

TEST_F(EngineTest, AScratchDeviceWithoutAFileSystemIsNamedAndLeavesNothing) {
    scratch_device_ = "/dev/null";
    const auto before = count_all();
    const auto container = create(shell("true"));
    ASSERT_FALSE(container.has_value());
    EXPECT_THAT(container.error().message(),
                StartsWith("root file system: mount ext4 from '/dev/null': "));
    EXPECT_EQ(count_all(), before);
}

TEST_F(EngineTest, AMountHasItsOptions) {
    ContainerSpec spec = shell("grep ' /made/here ' /proc/self/mountinfo");
    spec.mounts.push_back({.destination = "/made/here",
                           .type = "tmpfs",
                           .source = "tmpfs",
                           .options = {"nosuid", "nodev", "noexec", "size=64k", "mode=1777"}});
    const std::string output = run(spec).output;
    EXPECT_THAT(output, HasSubstr("rw,nosuid,nodev,noexec"));
    EXPECT_THAT(output, HasSubstr("size=64k"));
    EXPECT_THAT(output, Not(HasSubstr("mode=755")));
}

TEST_F(EngineTest, ALinkOfTheImageLeadsNowhereElse) {
    const auto before = count_all();
    ContainerSpec spec =
        shell("grep -c ' /tmp rw' /proc/self/mountinfo; touch /tmp/pepita-escaped");
    spec.mounts.push_back(
        {.destination = "/escape", .type = "tmpfs", .source = "tmpfs", .options = {}});
    EXPECT_EQ(run(spec).output, "1\n");
    EXPECT_EQ(count_all(), before);
    EXPECT_NE(::access("/tmp/pepita-escaped", F_OK), 0);
}

TEST_F(EngineTest, ProcBehindALinkIsRefused) {
    ContainerSpec spec = shell("true");
    spec.mounts = {{.destination = "/link", .type = "proc", .source = "proc", .options = {}}};
    const auto container = create(spec);
    ASSERT_FALSE(container.has_value());
    EXPECT_EQ(container.error().code(), Code::InvalidArgument);
    EXPECT_EQ(container.error().message(), "mount '/link': the image has a symbolic link there");
}

TEST_F(EngineTest, TheUsualDevicesAreThereAndThoseOfTheSpec) {
    ContainerSpec spec = shell(
        "echo x > /dev/null; readlink /dev/fd; readlink /dev/ptmx;"
        "stat -c '%F %t:%T %a %u:%g' /dev/null /dev/below/extra");
    spec.devices = {{.path = "/dev/below/extra",
                     .type = 'c',
                     .major = 1,
                     .minor = 7,
                     .file_mode = 0640,
                     .uid = 5,
                     .gid = 6}};
    EXPECT_EQ(run(spec).output,
              "/proc/self/fd\npts/ptmx\ncharacter special file 1:3 666 0:0\n"
              "character special file 1:7 640 5:6\n");
}

TEST_F(EngineTest, UserGroupAndGroupsAreTheSpecs) {
    ContainerSpec spec = shell("id -u; id -g; id -G");
    spec.process.uid = 1000;
    spec.process.gid = 1001;
    spec.process.additional_gids = {4, 20};
    EXPECT_EQ(run(spec).output, "1000\n1001\n1001 4 20\n");
}

TEST_F(EngineTest, WithoutCapabilitiesItHasNone) {
    EXPECT_EQ(run(shell("grep Cap /proc/self/status")).output,
              "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
              "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n"
              "CapAmb:\t0000000000000000\n");
}

TEST_F(EngineTest, CapabilitiesAreTheSpecsForAUserToo) {
    ContainerSpec spec = shell("grep Cap /proc/self/status");
    spec.process.uid = 1000;
    // 0x400: CAP_NET_BIND_SERVICE; 0xc0: CAP_SETGID and CAP_SETUID.
    spec.process.capabilities = Capabilities{.bounding = 0x4c0,
                                             .effective = 0x400,
                                             .inheritable = 0x400,
                                             .permitted = 0x400,
                                             .ambient = 0x400};
    EXPECT_EQ(run(spec).output,
              "CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\n"
              "CapEff:\t0000000000000400\nCapBnd:\t00000000000004c0\n"
              "CapAmb:\t0000000000000400\n");
}

TEST_F(EngineTest, LimitsUmaskAndNoNewPrivilegesAreTheSpecs) {
    ContainerSpec spec = shell(
        "ulimit -S -n; ulimit -H -n; umask; grep NoNewPrivs /proc/self/status;"
        "cat /proc/self/oom_score_adj");
    spec.process.rlimits = {{.resource = RLIMIT_NOFILE, .soft = 100, .hard = 200}};
    spec.process.umask = 0027;
    spec.process.no_new_privileges = true;
    spec.process.oom_score_adj = 500;
    EXPECT_EQ(run(spec).output, "100\n200\n0027\nNoNewPrivs:\t1\n500\n");
    EXPECT_EQ(run(shell("umask; grep NoNewPrivs /proc/self/status")).output,
              "0022\nNoNewPrivs:\t0\n");
}

TEST_F(EngineTest, AWorkingDirectoryThatIsNotThereIsMade) {
    ContainerSpec spec = shell("pwd; stat -c %a .");
    spec.process.cwd = "/made/for/it";
    EXPECT_EQ(run(spec).output, "/made/for/it\n755\n");
}

TEST_F(EngineTest, AWorkingDirectoryThatIsNoneIsNamedAtTheStart) {
    ContainerSpec spec = shell("true");
    spec.process.cwd = "/secret";
    const auto container = create(spec);
    ASSERT_TRUE(container.has_value());
    const auto started = (*container)->process().start();
    ASSERT_FALSE(started.has_value());
    EXPECT_THAT(started.error().message(), StartsWith("working directory: open '/secret': "));
    EXPECT_EQ(reap((*container)->process().pid()), 1);
}

TEST_F(EngineTest, ItInheritsNoDescriptorsAndNoSignals) {
    const auto old = std::signal(SIGUSR1, SIG_IGN);
    const Fd open_here = *open_file("/dev/null", O_RDONLY);
    // 3 is the folder that ls reads; 1:3 is /dev/null.
    EXPECT_EQ(run(shell("ls /proc/self/fd; stat -L -c %t:%T /proc/self/fd/0")).output,
              "0\n1\n2\n3\n1:3\n");
    ContainerSpec spec = shell("");
    spec.process = program({"grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"});
    EXPECT_EQ(run(spec).output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    (void)std::signal(SIGUSR1, old);
}

TEST_F(EngineTest, R11_AMissingProgramFailsTheCreationAndLeavesNothing) {
    const auto before = count_all();
    ContainerSpec spec = shell("");
    spec.process.args = {"no-such-program"};
    const auto container = create(spec);
    ASSERT_FALSE(container.has_value());
    EXPECT_EQ(container.error().message(),
              "exec 'no-such-program': No such file or directory (ENOENT)");
    EXPECT_EQ(container.error().code(), Code::NotFound);
    EXPECT_EQ(count_all(), before);
}

TEST_F(EngineTest, R11_AFileThatIsNoProgramFailsTheCreation) {
    ContainerSpec spec = shell("");
    spec.process.args = {"/plain"};
    const auto container = create(spec);
    ASSERT_FALSE(container.has_value());
    EXPECT_EQ(container.error().message(), "exec '/plain': Permission denied (EACCES)");
    EXPECT_EQ(container.error().code(), Code::PermissionDenied);
}

TEST_F(EngineTest, ATerminalIsItsStreamsItsConsoleAndItsController) {
    ContainerSpec spec = shell(
        "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && tty; stty size; echo console > /dev/console;"
        "echo controlling > /dev/tty; stat -c %u /dev/pts/0");
    spec.process.terminal = Terminal::Yes;
    spec.process.window = {.rows = 40, .columns = 120};
    spec.process.uid = 1000;
    const auto container = create(spec);
    ASSERT_TRUE(container.has_value()) << container.error().message();
    auto& process = (*container)->process();
    const std::optional<Fd> master = process.take_terminal();
    ASSERT_TRUE(master.has_value());
    EXPECT_FALSE(process.take_terminal().has_value());
    EXPECT_EQ(process.start().value(), 0U);
    EXPECT_EQ(read_all(*master), "/dev/pts/0\n40 120\nconsole\ncontrolling\n1000\n");
    EXPECT_EQ(reap(process.pid()), 0);
}

TEST_F(EngineTest, AWaitingProcessEndsWithItsContainer) {
    auto container = create(shell("echo never"));
    ASSERT_TRUE(container.has_value());
    const pid_t pid = (*container)->process().pid();
    container->reset();
    EXPECT_THAT(reap(pid), AnyOf(0, 128 + SIGKILL));  // whichever it hears of first
}

TEST_F(EngineTest, ItStartsOnce) {
    const auto container = create(shell("true"));
    ASSERT_TRUE(container.has_value());
    auto& process = (*container)->process();
    EXPECT_EQ(process.start().value(), 0U);
    EXPECT_EQ(process.start().error().code(), Code::FailedPrecondition);
    EXPECT_EQ(reap(process.pid()), 0);
}

TEST_F(EngineTest, AContainerThatCannotBeMadeSaysWhyAndLeavesNothing) {
    const auto before = count_all();
    ContainerSpec spec = shell("true");
    spec.mounts.push_back(
        {.destination = "/x", .type = "nosuchfs", .source = "none", .options = {}});
    const auto container = create(spec);
    ASSERT_FALSE(container.has_value());
    EXPECT_EQ(container.error().message(), "mount '/x': file systems of type 'nosuchfs'");
    EXPECT_EQ(count_all(), before);
    spec = shell("true");
    spec.sysctls = {{.name = "kernel.no_such", .value = "1"}};
    EXPECT_THAT(create(spec).error().message(), StartsWith("sysctl 'kernel.no_such': "));
    EXPECT_EQ(count_all(), before);
}

TEST_F(EngineTest, ARootThatIsNoImageIsNamedAndLeavesNothing) {
    const auto before = count_all();
    const auto container = test::WaitedContainer::create(*loop_, with_root(shell("true")),
                                                         {.root_device = "/dev/null",
                                                          .scratch_device = "",
                                                          .staging_directory = staging_directory_,
                                                          .cgroup_directory = ""},
                                                         {});
    ASSERT_FALSE(container.has_value());
    EXPECT_THAT(container.error().message(),
                StartsWith("root file system: mount erofs from '/dev/null': "));
    EXPECT_EQ(count_all(), before);
}

TEST_F(EngineTest, WhatItCannotDoIsUnsupported) {
    ContainerSpec spec = shell("true");
    spec.namespaces.mount = false;
    EXPECT_EQ(create(spec).error().code(), Code::Unsupported);
    spec = shell("true");
    spec.resources.pids_limit = 5;
    EXPECT_EQ(create(spec).error().message(), "limits or device rules without a cgroup");
}

// A container whose process runs until its input ends.
class ExecTest : public EngineTest {
protected:
    void SetUp() override {
        EngineTest::SetUp();
        if (!image) {
            return;
        }
        Pipe pipe = make_pipe();
        input_ = std::move(pipe.in);
        ContainerSpec spec = shell("");
        spec.process = program({"cat"});
        spec.hostname = "inside";
        auto made = create(spec, {.in = std::move(pipe.out), .out = {}, .err = {}});
        ASSERT_TRUE(made.has_value()) << made.error().message();
        container_ = *std::move(made);
        ASSERT_EQ(container_->process().start().value(), 0U);
    }
    void TearDown() override {
        if (container_) {
            input_ = Fd();
            EXPECT_EQ(reap(container_->process().pid()), 0);
            container_.reset();
        }
        EngineTest::TearDown();
    }
    // Whether every child but the container's process has been reaped.
    static bool is_tidy() { return ::waitpid(-1, nullptr, WNOHANG) == 0; }

    std::unique_ptr<test::WaitedContainer> container_;
    Fd input_;
};

TEST_F(ExecTest, ItJoinsTheNamespacesAndIsAChildOfTheCaller) {
    // exec() reaps it: it could not, were it not ours.
    const Outcome outcome = exec(
        *container_, program({"sh", "-c", "cat /proc/1/comm; hostname; [ $$ != 1 ] && exit 3"}));
    EXPECT_EQ(outcome.output, "cat\ninside\n");
    EXPECT_EQ(outcome.status, 3);
    EXPECT_TRUE(is_tidy());
}

TEST_F(ExecTest, ItHasCredentialsAndDirectoryOfItsOwn) {
    ProcessSpec spec = program({"sh", "-c", "id -u; pwd; grep CapEff /proc/self/status"});
    spec.uid = 7;
    spec.cwd = "/folder";
    EXPECT_EQ(exec(*container_, spec).output, "7\n/folder\nCapEff:\t0000000000000000\n");
}

TEST_F(ExecTest, AMissingProgramIs127) {
    const Outcome outcome = exec(*container_, program({"no-such-program"}));
    EXPECT_EQ(outcome.exec_errno, static_cast<unsigned>(ENOENT));
    EXPECT_EQ(outcome.status, 127);
}

TEST_F(ExecTest, ATerminalIsOneOfTheContainers) {
    ProcessSpec spec = program({"tty"});
    spec.terminal = Terminal::Yes;
    auto process = container_->exec(spec, {});
    ASSERT_TRUE(process.has_value()) << process.error().message();
    const std::optional<Fd> master = process->take_terminal();
    ASSERT_TRUE(master.has_value());
    ASSERT_EQ(process->start().value(), 0U);
    EXPECT_EQ(read_all(*master), "/dev/pts/0\n");
    EXPECT_EQ(reap(process->pid()), 0);
}

TEST_F(ExecTest, OneThatCannotBeMadeSaysWhyAndLeavesNothing) {
    const auto before = count_all();
    ProcessSpec spec = program({"true"});
    spec.oom_score_adj = 2000;  // of at most 1000
    const auto process = container_->exec(spec, {});
    ASSERT_FALSE(process.has_value());
    EXPECT_THAT(process.error().message(), StartsWith("oom_score_adj: "));
    EXPECT_EQ(count_all(), before);
    EXPECT_TRUE(is_tidy());
}

TEST_F(ExecTest, AWaitingOneEndsWhenAbandoned) {
    auto process = container_->exec(program({"true"}), {});
    ASSERT_TRUE(process.has_value());
    process->abandon();
    EXPECT_EQ(reap(process->pid()), 0);
}

TEST_F(ExecTest, AContainerThatIsOverTakesNoMore) {
    input_ = Fd();
    siginfo_t info{};
    ASSERT_EQ(
        ::waitid(P_PID, static_cast<id_t>(container_->process().pid()), &info, WEXITED | WNOWAIT),
        0);
    EXPECT_FALSE(container_->exec(program({"true"}), {}).has_value());
}

TEST_F(EngineTest, R18_AnExecRunsInAContainerThatIsCreated) {
    auto container = create(shell("exit 4"));
    ASSERT_TRUE(container.has_value()) << container.error().message();
    const Outcome outcome = exec(**container, program({"sh", "-c", "cat /proc/1/comm; exit 3"}));
    EXPECT_EQ(outcome.status, 3);
    EXPECT_NE(outcome.output, "sh\n");  // not started yet
    ASSERT_EQ((*container)->process().start().value(), 0U);
    EXPECT_EQ(reap((*container)->process().pid()), 4);
}

TEST_F(EngineTest, R23_ManyExecsAtOnceAllRun) {
    constexpr int kCount = 50;
    Pipe pipe = make_pipe();
    ContainerSpec spec = shell("");
    spec.process = program({"cat"});
    auto container = create(spec, {.in = std::move(pipe.out), .out = {}, .err = {}});
    ASSERT_TRUE(container.has_value());
    ASSERT_EQ((*container)->process().start().value(), 0U);
    std::vector<test::WaitedProcess> waiting;
    for (int i = 0; i < kCount; ++i) {
        auto process = (*container)->exec(program({"sh", "-c", "exit " + std::to_string(i)}), {});
        ASSERT_TRUE(process.has_value()) << process.error().message();
        waiting.push_back(*std::move(process));
    }
    for (int i = 0; i < kCount; ++i) {
        ASSERT_EQ(waiting[static_cast<std::size_t>(i)].start().value(), 0U);
        EXPECT_EQ(reap(waiting[static_cast<std::size_t>(i)].pid()), i);
    }
    pipe.in = Fd();
    EXPECT_EQ(reap((*container)->process().pid()), 0);
}

// Without a devpts, setting it up fails in the container.
TEST_F(EngineTest, AnExecThatFailsLeavesNoProcessBehind) {
    Pipe pipe = make_pipe();
    ContainerSpec spec = shell("");
    spec.mounts.pop_back();
    spec.process = program({"cat"});
    auto container = create(spec, {.in = std::move(pipe.out), .out = {}, .err = {}});
    ASSERT_TRUE(container.has_value());
    ASSERT_EQ((*container)->process().start().value(), 0U);
    ProcessSpec with_terminal = program({"true"});
    with_terminal.terminal = Terminal::Yes;
    for (int attempt = 0; attempt < 10; ++attempt) {
        const auto process = (*container)->exec(with_terminal, {});
        ASSERT_FALSE(process.has_value());
        EXPECT_THAT(process.error().message(), StartsWith("terminal: open '/dev/pts/ptmx'"));
        ASSERT_EQ(::waitpid(-1, nullptr, WNOHANG), 0);
    }
    pipe.in = Fd();
    EXPECT_EQ(reap((*container)->process().pid()), 0);
}

}  // namespace
}  // namespace pepita::runtime::container
