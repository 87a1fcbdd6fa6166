#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/container_test.h"

namespace pepita::runtime::container {
namespace {

using test::ContainerTest;
using test::PipeEnds;
using test::Ran;
using test::reap_status;

class ContainerIsolation : public ContainerTest {
protected:
    const RootSpec kNothingWritten{.disk = DiskId{.serial = "disk0"},
                                   .written_to = WrittenTo::Nothing};
};

std::string word_of(FdRef pipe) {
    std::string text(64, '\0');
    const ssize_t got = ::read(pipe.number(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
}

TEST_F(ContainerIsolation, OutputAndErrorsAreSeparateAndInputIsEmpty) {
    const auto ran = run(spec_of("cat; echo out; echo err >&2"));
    ASSERT_TRUE(ran.has_value());
    EXPECT_EQ(ran->out, "out\n");
    EXPECT_EQ(ran->err, "err\n");
}

TEST_F(ContainerIsolation, HostnameWithoutAUtsNamespaceIsRefused) {
    ContainerSpec spec = spec_of("true");
    spec.namespaces.uts = false;
    spec.hostname = "web-1";
    EXPECT_EQ(refusal_of(spec), "a hostname without a uts namespace");
}

TEST_F(ContainerIsolation, LoopbackOfANewNetworkIsUp) {
    EXPECT_EQ(output_of("ls /sys 2>/dev/null; grep -c lo: /proc/net/dev; "
                        "cat /proc/net/route | wc -l; cat /proc/net/if_inet6 | grep -c lo"),
              "1\n1\n1\n");
}

TEST_F(ContainerIsolation, SysctlsAreSetInTheContainersNamespaces) {
    ContainerSpec spec =
        spec_of("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni");
    spec.sysctls = {{.name = "net.ipv4.ip_unprivileged_port_start", .value = "80"},
                    {.name = "kernel.shmmni", .value = "17"}};
    EXPECT_EQ(output_of(spec), "80\n17\n");
}

TEST_F(ContainerIsolation, SysctlThatIsNotThereIsNamed) {
    ContainerSpec spec = spec_of("true");
    spec.sysctls = {{.name = "net.no.such", .value = "1"}};
    EXPECT_EQ(refusal_of(spec),
              "sysctl 'net.no.such': open '/proc/sys/net/no/such': No such file or directory "
              "(ENOENT)");
}

TEST_F(ContainerIsolation, AReadOnlyRootCannotBeWrittenAndHasItsMounts) {
    ContainerSpec spec = spec_of("touch /etc/x 2>&1; touch /dev/x && grep ' / ' /proc/mounts");
    spec.root_read_only = true;
    const std::string out = output_of(spec);
    EXPECT_TRUE(out.starts_with("touch: /etc/x: Read-only file system\n")) << out;
    EXPECT_NE(out.find(" / overlay ro"), std::string::npos) << out;
}

TEST_F(ContainerIsolation, NothingOfTheParentIsMountedInTheContainer) {
    // The root, and the four mounts of the spec.
    EXPECT_EQ(output_of("wc -l < /proc/self/mountinfo; echo /*"),
              "5\n/bin /dev /escape /etc /folder /home /link /plain /proc /root /run /secret /sys "
              "/tmp\n");
}

TEST_F(ContainerIsolation, DefaultDevicesAndLinksAreThere) {
    EXPECT_EQ(output_of("cd /dev; stat -c '%n %t:%T %a' null zero full random urandom tty; "
                        "for link in fd stdin stdout stderr ptmx; do readlink $link; done; "
                        "echo x > null; head -c 2 zero | wc -c"),
              "null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\n"
              "tty 5:0 666\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n"
              "pts/ptmx\n2\n");
}

TEST_F(ContainerIsolation, DevicesOfTheSpecAreMadeWithModeAndOwner) {
    ContainerSpec spec = spec_of("stat -c '%F %t:%T %a %u:%g' /dev/deep/mem /dev/pipe");
    spec.devices = {{.path = "/dev/deep/mem",
                     .type = 'c',
                     .major = 1,
                     .minor = 7,
                     .file_mode = 0640,
                     .uid = 5,
                     .gid = 6},
                    {.path = "/dev/pipe", .type = 'p', .file_mode = 0622}};
    EXPECT_EQ(output_of(spec), "character special file 1:7 640 5:6\nfifo 0:0 622 0:0\n");
}

TEST_F(ContainerIsolation, R14_DefaultDevicesMayBeAskedForAgain) {
    ContainerSpec spec = spec_of("stat -c '%t:%T %a %u' /dev/null; readlink /dev/ptmx");
    spec.devices = {
        {.path = "/dev/ptmx", .type = 'c', .major = 5, .minor = 2},
        {.path = "/dev/null", .type = 'c', .major = 1, .minor = 3, .file_mode = 0622, .uid = 7}};
    EXPECT_EQ(output_of(spec), "1:3 622 7\npts/ptmx\n");
}

TEST_F(ContainerIsolation, R24_ADeviceIsMadeBeforeTheRootBecomesReadOnly) {
    ContainerSpec spec = spec_of("stat -c %t:%T /dev/extra; touch /dev/x 2>&1; true");
    spec.root_read_only = true;
    drop_mounts(spec, "/dev");
    spec.devices = {{.path = "/dev/extra", .major = 1, .minor = 7}};
    EXPECT_EQ(output_of(spec), "1:7\ntouch: /dev/x: Read-only file system\n");
}

TEST_F(ContainerIsolation, ADeviceOfTheSpecOnARootThatNothingIsWrittenToIsAnError) {
    ContainerSpec spec = spec_of("true");
    spec.root = kNothingWritten;
    drop_mounts(spec, "/dev");
    spec.devices = {{.path = "/dev/extra", .major = 1, .minor = 7}};
    EXPECT_EQ(refusal_of(spec), "make device '/dev/extra': Read-only file system (EROFS)");
}

TEST_F(ContainerIsolation, WithoutADevOfItsOwnARootThatNothingIsWrittenToStillRuns) {
    ContainerSpec spec = spec_of("cat; ls /dev");
    spec.root = kNothingWritten;
    drop_mounts(spec, "/dev");
    EXPECT_EQ(output_of(spec), "");
}

TEST_F(ContainerIsolation, StandardDescriptorsAreTheOnlyOnes) {
    // The fourth is that of ls itself.
    EXPECT_EQ(output_of("exec ls /proc/self/fd"), "0\n1\n2\n3\n");
}

TEST_F(ContainerIsolation, TheContainersProcessDoesNotRunBeforeItsStart) {
    PipeEnds pipe = test::make_pipe();
    auto container =
        create(spec_of("echo started"), {.in = Fd(), .out = std::move(pipe.in), .err = Fd()});
    ASSERT_TRUE(container.has_value()) << container.error().message();
    pollfd readable{.fd = pipe.out.ref().number(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&readable, 1, 0), 0);
    EXPECT_EQ((*container)->process().start().value_or(99), 0U);
    EXPECT_EQ(word_of(pipe.out.ref()), "started\n");
    EXPECT_EQ(reap_status((*container)->process().pid()), 0U);
    EXPECT_EQ((*container)->process().start().error().code(), Code::FailedPrecondition);
}

TEST_F(ContainerIsolation, AProcessThatNobodyWantsAnyMoreEnds) {
    auto container = create(spec_of("true"));
    ASSERT_TRUE(container.has_value()) << container.error().message();
    (*container)->process().abandon();
    EXPECT_EQ(reap_status((*container)->process().pid()), 0U);
}

TEST_F(ContainerIsolation, AWaitingContainerKeepsNothingOfAnotherOpen) {
    ContainerSpec spec = spec_of("true");
    auto first = create(spec);
    ASSERT_TRUE(first.has_value()) << first.error().message();
    spec.id = "other";
    auto second = create(spec);  // forked while the first one's socket was open
    ASSERT_TRUE(second.has_value()) << second.error().message();
    (*first)->process().abandon();
    EXPECT_EQ(reap_status((*first)->process().pid()), 0U);
    (*second)->process().abandon();
    EXPECT_EQ(reap_status((*second)->process().pid()), 0U);
}

TEST_F(ContainerIsolation, RemovingEndsWhatRunsAndTheProcessesItMade) {
    PipeEnds pipe = test::make_pipe();
    auto container = create(spec_of("sleep 1000 & echo up; sleep 1000"),
                            {.in = Fd(), .out = std::move(pipe.in), .err = Fd()});
    ASSERT_TRUE(container.has_value()) << container.error().message();
    ASSERT_EQ((*container)->process().start().value_or(99), 0U);
    EXPECT_EQ(word_of(pipe.out.ref()), "up\n");
    EXPECT_TRUE((*container)->remove().has_value());
    // Its end of the pipe is closed when the last of them is over.
    EXPECT_EQ(word_of(pipe.out.ref()), "");
    EXPECT_EQ(reap_status((*container)->process().pid()), 128U + SIGKILL);
    EXPECT_TRUE((*container)->remove().has_value());
}

TEST_F(ContainerIsolation, SignalAllReachesEveryProcess) {
    PipeEnds pipe = test::make_pipe();
    auto container = create(
        spec_of("trap 'echo one; wait; exit 7' USR1; "
                "sh -c 'trap \"echo two; exit\" USR1; echo up; while :; do sleep 0.05; done' & "
                "while :; do sleep 0.05; done"),
        {.in = Fd(), .out = std::move(pipe.in), .err = Fd()});
    ASSERT_TRUE(container.has_value()) << container.error().message();
    ASSERT_EQ((*container)->process().start().value_or(99), 0U);
    EXPECT_EQ(word_of(pipe.out.ref()), "up\n");
    EXPECT_TRUE((*container)->signal_all(SIGUSR1).has_value());
    const std::string said = test::read_to_end(pipe.out.ref());
    EXPECT_NE(said.find("one\n"), std::string::npos) << said;
    EXPECT_NE(said.find("two\n"), std::string::npos) << said;
    EXPECT_EQ(reap_status((*container)->process().pid()), 7U);
    EXPECT_TRUE((*container)->signal_all(SIGUSR1).has_value());  // over: nothing to do
}

TEST_F(ContainerIsolation, AnIdThatIsNoFileNameIsRefused) {
    for (const char* id : {"", ".", "..", "a/b"}) {
        ContainerSpec spec = spec_of("true");
        spec.id = id;
        EXPECT_EQ(refusal_of(spec), "'" + std::string(id) + "' is no container id");
    }
}

TEST_F(ContainerIsolation, LimitsAndDeviceRulesNeedACgroup) {
    ContainerSpec spec = spec_of("true");
    spec.resources.pids_limit = 10;
    EXPECT_EQ(refusal_of(spec), "limits or device rules without a cgroup");
    spec = spec_of("true");
    spec.resources.devices = {
        {.allow = false, .type = 'a', .major = {}, .minor = {}, .access = "rwm"}};
    EXPECT_EQ(refusal_of(spec), "limits or device rules without a cgroup");
}

TEST_F(ContainerIsolation, NamespacesThatItCannotDoWithoutAreNamed) {
    ContainerSpec spec = spec_of("true");
    spec.namespaces.mount = false;
    EXPECT_EQ(refusal_of(spec), "a container without a mount namespace");
    spec = spec_of("true");
    spec.namespaces.pid = false;
    EXPECT_EQ(refusal_of(spec), "neither a pid namespace nor a cgroup");
}

TEST_F(ContainerIsolation, TheImageCanBeDetachedOnceTheContainerIsRemoved) {
    use_image({});
    EXPECT_EQ(output_of("true"), "");
    // An exclusive mount of the same device works only where nothing holds it.
    const std::string device = options().root_device;
    ASSERT_EQ(::mount(device.c_str(), "/mnt", "erofs", MS_RDONLY, ""), 0);
    EXPECT_EQ(::umount("/mnt"), 0);
}

}  // namespace
}  // namespace pepita::runtime::container
