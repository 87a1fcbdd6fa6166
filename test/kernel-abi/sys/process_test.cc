#include "kernel-abi/sys/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

SpawnOptions shell(const std::string& script) {
    SpawnOptions options;
    options.path = "/bin/sh";
    options.arguments = {"sh", "-c", script};
    options.environment = {"PATH=/usr/bin:/bin"};
    return options;
}

TEST(Spawn, GivesTheExitStatus) {
    auto child = spawn(shell("exit 7"));
    ASSERT_TRUE(child.has_value());
    EXPECT_EQ(child->reap(), (ChildExit{.by_signal = false, .value = 7}));
}

TEST(Spawn, ASignalCountsAsTheShellCounts) {
    auto child = spawn(shell("kill -TERM $$"));
    ASSERT_TRUE(child.has_value());
    EXPECT_EQ(child->reap().shell_status(), 143U);
}

TEST(Spawn, MissingProgramIsNamed) {
    SpawnOptions options;
    options.path = "/no/such/program";
    options.arguments = {"/no/such/program"};
    const auto child = spawn(std::move(options));
    ASSERT_FALSE(child.has_value());
    EXPECT_EQ(child.error().code(), Code::NotFound);
    EXPECT_EQ(child.error().message(),
              "exec '/no/such/program': No such file or directory (ENOENT)");
}

TEST(Spawn, WhatPrepareSaysReachesTheParent) {
    SpawnOptions options = shell("exit 0");
    options.prepare = [] -> Result<void> { return Error(Code::PermissionDenied, "not today"); };
    const auto child = spawn(std::move(options));
    ASSERT_FALSE(child.has_value());
    EXPECT_EQ(child.error().code(), Code::PermissionDenied);
    EXPECT_EQ(child.error().message(), "not today");
}

TEST(Spawn, DescriptorsHaveTheNumbersAskedForEvenWhenTheySwap) {
    std::array<int, 2> a{};
    std::array<int, 2> b{};
    ASSERT_EQ(::pipe2(a.data(), O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(b.data(), O_CLOEXEC), 0);
    const Fd a_out(a[0]);
    const Fd b_out(b[0]);
    const Fd a_in(a[1]);
    const Fd b_in(b[1]);
    SpawnOptions options =
        shell("printf A >&" + std::to_string(b[1]) + "; printf B >&" + std::to_string(a[1]));
    options.fds = {{.fd = a_in.ref(), .number = b[1]}, {.fd = b_in.ref(), .number = a[1]}};
    auto child = spawn(std::move(options));
    ASSERT_TRUE(child.has_value());
    EXPECT_EQ(child->reap().value, 0);
    char got = 0;
    ASSERT_EQ(::read(a_out.ref().number(), &got, 1), 1);
    EXPECT_EQ(got, 'A');
    ASSERT_EQ(::read(b_out.ref().number(), &got, 1), 1);
    EXPECT_EQ(got, 'B');
}

TEST(Spawn, NothingElseIsInherited) {
    const Fd open = *open_file("/dev/null", O_RDONLY);
    auto child = spawn(shell("ls /proc/self/fd | wc -l | grep -qx 4"));  // 0 1 2, and ls's own
    ASSERT_TRUE(child.has_value());
    EXPECT_EQ(child->reap().value, 0);
}

TEST(Spawn, R27_ADaemonsChildIgnoresAndBlocksNothing) {
    sigset_t all;
    sigset_t before;
    ASSERT_EQ(::sigfillset(&all), 0);
    ASSERT_EQ(::sigprocmask(SIG_SETMASK, &all, &before), 0);
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    SpawnOptions options = shell("grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\t\\n' >&3");
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const Fd out(ends[0]);
    Fd in(ends[1]);
    options.fds = {{.fd = in.ref(), .number = 3}};
    auto child = spawn(std::move(options));
    (void)::signal(SIGXFSZ, handler);
    ASSERT_EQ(::sigprocmask(SIG_SETMASK, &before, nullptr), 0);
    ASSERT_TRUE(child.has_value());
    EXPECT_EQ(child->reap(), ChildExit{});
    std::array<char, 128> text{};
    const ssize_t size = ::read(out.ref().number(), text.data(), text.size());
    EXPECT_EQ(std::string(text.data(), static_cast<std::size_t>(size)),
              "SigBlk:0000000000000000SigIgn:0000000000000000");
}

TEST(Spawn, R27_ASignalHasItsName) {
    EXPECT_EQ(to_string(ChildExit{.by_signal = true, .value = SIGXFSZ}),
              "killed by signal 25 (SIGXFSZ)");
    EXPECT_EQ(to_string(ChildExit{.by_signal = true, .value = 40}), "killed by signal 40");
    EXPECT_EQ(to_string(ChildExit{.by_signal = false, .value = 3}), "exit status 3");
}

TEST(Limits, R27_AreRaisedAsFarAsTheyCan) {
    const pid_t child = ::fork();
    if (child == 0) {
        const rlimit low{.rlim_cur = 4096, .rlim_max = 1U << 20U};
        rlimit now{};
        bool raised = ::setrlimit(RLIMIT_FSIZE, &low) == 0;
        reset_limits();
        raised = raised && ::getrlimit(RLIMIT_FSIZE, &now) == 0 && now.rlim_cur >= low.rlim_max;
        ::_exit(raised ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

// The child is in prepare(), before PR_SET_PDEATHSIG, when its parent is killed.
TEST(Spawn, R6_AChildWhoseParentDiedBeforePdeathsigEnds) {
    constexpr int kFar = 60;    // above all that is open here
    std::array<int, 2> hold{};  // open for writing in the parent alone
    std::array<int, 2> alive{};
    ASSERT_EQ(::pipe2(hold.data(), O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(alive.data(), O_CLOEXEC), 0);
    const pid_t parent = ::fork();
    if (parent == 0) {
        (void)::close(alive[0]);
        SpawnOptions options;
        options.arguments = {"child"};
        options.fds = {{.fd = FdRef(alive[1]), .number = kFar}};
        options.instead_of_exec = [] {
            (void)!::write(kFar, "ran", 3);
            (void)::pause();
        };
        options.prepare = [&]() -> Result<void> {
            char byte = 'p';
            (void)!::write(kFar, &byte, 1);
            (void)::close(hold[1]);  // inherited: with it the end would not come
            (void)!::read(hold[0], &byte, 1);
            return {};
        };
        (void)spawn(std::move(options)).has_value();
        ::_exit(0);
    }
    (void)::close(hold[1]);
    (void)::close(alive[1]);
    char byte = 0;
    ASSERT_EQ(::read(alive[0], &byte, 1), 1);  // it is in prepare()
    ASSERT_EQ(::kill(parent, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(parent, &status, 0), parent);
    // The end of the child is the end of the pipe; one that lives on would say "ran".
    EXPECT_EQ(::read(alive[0], &byte, 1), 0);
    (void)::close(hold[0]);
    (void)::close(alive[0]);
}

TEST(Child, ThatOutlivesUsGoesOnWhenItsParentIsOver) {
    std::array<int, 2> to{};
    std::array<int, 2> from{};
    ASSERT_EQ(::pipe2(to.data(), O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(from.data(), O_CLOEXEC), 0);
    const Fd to_read(to[0]);
    Fd to_write(to[1]);
    const Fd from_read(from[0]);
    Fd from_write(from[1]);
    SpawnOptions parent;
    parent.fds = {{.fd = to_read.ref(), .number = 3}, {.fd = from_write.ref(), .number = 4}};
    parent.instead_of_exec = [] {
        SpawnOptions survivor = shell("read word; echo $word");
        survivor.lifetime = Lifetime::OutlivesUs;
        survivor.fds = {{.fd = FdRef(3), .number = 0}, {.fd = FdRef(4), .number = 1}};
        auto child = spawn(std::move(survivor));
        child->release();
    };
    auto child = spawn(std::move(parent));
    ASSERT_TRUE(child.has_value());
    EXPECT_EQ(child->reap(), ChildExit());
    { const Fd ours = std::move(from_write); }
    ASSERT_EQ(::write(to_write.ref().number(), "go\n", 3), 3);
    std::array<char, 8> word{};
    EXPECT_EQ(::read(from_read.ref().number(), word.data(), word.size()), 3);
    EXPECT_STREQ(word.data(), "go\n");
}

TEST(StartProgram, HasItsDescriptorsAndASessionOfItsOwn) {
    const Pipe pipe = *make_pipe();
    auto child = start_program(
        {.path = "/bin/sh",
         .arguments = {"sh", "-c", "echo $$ $(cut -d' ' -f6 /proc/$$/stat) $PWD $WORD >&7"},
         .environment = {"WORD=said", "PATH=/usr/bin:/bin"},
         .fds = {{.fd = pipe.write.ref(), .number = 7}},
         .has_session = true});
    ASSERT_TRUE(child.has_value());
    const std::string pid = std::to_string(child->pid());
    EXPECT_EQ(child->reap(), (ChildExit{.by_signal = false, .value = 0}));
    std::array<char, 256> said{};
    const ssize_t size = ::read(pipe.read.ref().number(), said.data(), said.size());
    ASSERT_GT(size, 0);
    EXPECT_EQ(std::string(said.data(), static_cast<std::size_t>(size)),
              pid + " " + pid + " / said\n");
}

TEST(StartProgram, MissingProgramIsNamed) {
    const auto child = start_program({.path = "/nowhere/program",
                                      .arguments = {"program"},
                                      .environment = {},
                                      .fds = {},
                                      .has_session = false});
    ASSERT_FALSE(child);
    EXPECT_EQ(child.error().code(), Code::NotFound);
    EXPECT_NE(child.error().message().find("'/nowhere/program'"), std::string::npos);
}

TEST(Child, ThatGoesIsKilledAndReaped) {
    pid_t pid = 0;
    {
        auto child = spawn(shell("exec tail -f /dev/null"));
        ASSERT_TRUE(child.has_value());
        pid = child->pid();
        EXPECT_EQ(::kill(pid, 0), 0);
    }
    EXPECT_EQ(::kill(pid, 0), -1);
}

}  // namespace
}  // namespace pepita
