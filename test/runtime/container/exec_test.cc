#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/container_test.h"

// More processes in a container that runs.
namespace pepita::runtime::container {
namespace {

using test::ContainerTest;
using test::PipeEnds;
using test::reap_status;

class ContainerExec : public ContainerTest {
protected:
    void SetUp() override {
        ContainerTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        ContainerSpec spec = spec_of("mkdir /made; echo up; exec sleep 1000");
        spec.hostname = "web-1";
        start(spec);
    }

    void TearDown() override {
        if (container_) {
            EXPECT_TRUE(container_->remove().has_value());
            EXPECT_EQ(reap_status(container_->process().pid()), 128U + SIGKILL);
            container_.reset();
        }
        ContainerTest::TearDown();
    }

    void start(const ContainerSpec& spec) {
        PipeEnds pipe = test::make_pipe();
        auto container = create(spec, {.in = Fd(), .out = std::move(pipe.in), .err = Fd()});
        ASSERT_TRUE(container.has_value()) << container.error().message();
        container_ = *std::move(container);
        ASSERT_EQ(container_->process().start().value_or(99), 0U);
        std::string up(3, '\0');
        ASSERT_EQ(::read(pipe.out.ref().number(), up.data(), up.size()), 3);
    }

    std::string exec_output(const std::string& script) {
        const auto ran = exec(*container_, process_of(script));
        EXPECT_TRUE(ran.has_value()) << ran.error().message();
        return ran ? ran->out + ran->err : "";
    }

    std::unique_ptr<test::WaitedContainer> container_;
};

TEST_F(ContainerExec, JoinsTheNamespacesAndTheRoot) {
    // It said "up" as a shell.
    const std::string wait = "until grep -qx sleep /proc/1/comm; do sleep 0.01; done; ";
    EXPECT_EQ(exec_output(wait + "hostname; ls -d /made; cat /proc/1/comm"),
              "web-1\n/made\nsleep\n");
    EXPECT_EQ(exec_output("for n in pid mnt ipc uts net cgroup; do "
                          "test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) || "
                          "echo $n; done"),
              "");
}

TEST_F(ContainerExec, StatusAndStreamsAreItsOwn) {
    const auto ran = exec(*container_, process_of("echo out; echo err >&2; exit 9"));
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->status, 9U);
    EXPECT_EQ(ran->out, "out\n");
    EXPECT_EQ(ran->err, "err\n");
}

TEST_F(ContainerExec, AppliesItsOwnProcessSpec) {
    ProcessSpec spec = process_of(
        "id -u; umask; readlink /proc/self/cwd; grep CapBnd "
        "/proc/self/status; cat /proc/self/oom_score_adj");
    spec.uid = 1000;
    spec.umask = 0027;
    spec.cwd = "/tmp";
    spec.oom_score_adj = 55;
    const auto ran = exec(*container_, spec);
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->out, "1000\n0027\n/tmp\nCapBnd:\t0000000000000000\n55\n");
}

TEST_F(ContainerExec, PidIsTheCallersAndTheProcessItsChild) {
    auto process = container_->exec(process_of("exec sleep 1000"), {});
    ASSERT_TRUE(process.has_value()) << process.error().message();
    ASSERT_EQ(process->start().value_or(99), 0U);
    EXPECT_EQ(::kill(process->pid(), SIGTERM), 0);
    EXPECT_EQ(reap_status(process->pid()), 128U + SIGTERM);
}

TEST_F(ContainerExec, MissingCommandIs127AndBadDirectoryIsNamed) {
    ProcessSpec spec = process_of("");
    spec.args = {"no-such-program"};
    EXPECT_EQ(exec(*container_, spec)->status, 127U);
    spec.cwd = "/not/there";  // not made: that is for the container's own
    EXPECT_EQ(exec(*container_, spec).error().message(),
              "working directory: open '/not/there': No such file or directory (ENOENT)");
}

TEST_F(ContainerExec, OneThatIsNeverStartedEnds) {
    pid_t pid = 0;
    {
        auto process = container_->exec(process_of("true"), {});
        ASSERT_TRUE(process.has_value()) << process.error().message();
        pid = process->pid();
    }
    EXPECT_EQ(reap_status(pid), 0U);
}

TEST_F(ContainerExec, RemovingTheContainerEndsItToo) {
    PipeEnds pipe = test::make_pipe();
    auto process = container_->exec(process_of("exec sleep 1000"),
                                    {.in = Fd(), .out = std::move(pipe.in), .err = Fd()});
    ASSERT_TRUE(process.has_value()) << process.error().message();
    ASSERT_EQ(process->start().value_or(99), 0U);
    EXPECT_EQ(::kill(container_->process().pid(), SIGKILL), 0);
    EXPECT_EQ(reap_status(process->pid()), 128U + SIGKILL);
}

TEST_F(ContainerExec, WhatTheContainerMadeOfItsFilesIsNotTrusted) {
    EXPECT_EQ(exec_output("busybox rm /dev/null; busybox mkfifo /dev/null; "
                          "busybox rm /etc/passwd; busybox mkfifo /etc/passwd"),
              "");
    const auto refused = exec(*container_, process_of("true"));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message(), "'/dev/null' is not the null device");
    // A FIFO for passwd(5) is not waited for.
    PipeEnds in = test::make_pipe();
    PipeEnds out = test::make_pipe();
    Fd err = *duplicate(out.in.ref());
    auto process = container_->exec(
        process_of("echo $HOME"),
        {.in = std::move(in.out), .out = std::move(out.in), .err = std::move(err)});
    ASSERT_TRUE(process.has_value()) << process.error().message();
    EXPECT_EQ(process->start().value_or(99), 0U);
    EXPECT_EQ(test::read_to_end(out.out.ref()), "/\n");
    EXPECT_EQ(reap_status(process->pid()), 0U);
}

TEST_F(ContainerExec, AContainerThatIsOverTakesNoMore) {
    ASSERT_EQ(::kill(container_->process().pid(), SIGKILL), 0);
    siginfo_t info{};  // it is over, and stays to be reaped by TearDown
    ASSERT_EQ(
        ::waitid(P_PID, static_cast<id_t>(container_->process().pid()), &info, WEXITED | WNOWAIT),
        0);
    const auto refused = container_->exec(process_of("true"), {});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Code::FailedPrecondition);
}

}  // namespace
}  // namespace pepita::runtime::container
