#include "runtime/cli/command_line.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "runtime/pod_spec.h"
#include "test/support/golden.h"

namespace pepita::runtime::cli {
namespace {

using Arguments = std::vector<std::string>;

Command parsed(const Arguments& arguments) {
    Command command;
    const auto result = parse_command_line(arguments, command);
    EXPECT_TRUE(result.has_value()) << result.error().message();
    return command;
}

TEST(CommandLine, GlobalOptionsStandBeforeTheVerb) {
    const Command command = parsed({"--root", "/r", "--data=/d", "--isolation", "tcg", "--shim",
                                    "/s", "--log", "/l", "--log-format", "json", "state", "web"});
    EXPECT_EQ(command.verb, Verb::State);
    EXPECT_EQ(command.id, "web");
    EXPECT_EQ(command.root, "/r");
    EXPECT_EQ(command.pod.data, "/d");
    EXPECT_EQ(command.pod.isolation, IsolationChoice::Tcg);
    EXPECT_EQ(command.shim, "/s");
    EXPECT_EQ(command.log, "/l");
    EXPECT_EQ(command.pod.log_format, LogFormat::Json);
}

TEST(CommandLine, OptionsOfRunStandOnEitherSideOfTheContainer) {
    const Command command = parsed({"run", "-b", "/b", "web", "--detach", "--pid-file", "/p",
                                    "--memory", "256", "--cpus=8", "--scratch", "64"});
    EXPECT_EQ(command.verb, Verb::Run);
    EXPECT_EQ(command.id, "web");
    EXPECT_EQ(command.bundle, "/b");
    EXPECT_TRUE(command.detach);
    EXPECT_EQ(command.pid_file, "/p");
    EXPECT_EQ(command.pod.memory_mib, 256U);
    EXPECT_EQ(command.pod.vcpus, 8U);
    EXPECT_EQ(command.pod.scratch_mib, 64U);
    EXPECT_EQ(parsed({"create", "--scratch=0", "web"}).pod.scratch_mib, 0U);
}

TEST(CommandLine, DefaultsAreRuncs) {
    const Command command = parsed({"run", "web"});
    EXPECT_EQ(command.root, "/run/pepita");
    EXPECT_EQ(command.bundle, ".");
    EXPECT_EQ(command.pod.isolation, IsolationChoice::Auto);
    EXPECT_FALSE(command.detach);
    EXPECT_EQ(command.pod.scratch_mib, 1024U);
}

TEST(CommandLine, WhatFollowsTheContainerOfExecIsTheCommands) {
    const Command command = parsed({"exec", "-t", "-e", "A=1", "--env=B=2", "-u", "1:2", "--cwd",
                                    "/c", "web", "ls", "-l", "--", "--help"});
    EXPECT_EQ(command.id, "web");
    EXPECT_EQ(command.args, (Arguments{"ls", "-l", "--", "--help"}));
    EXPECT_TRUE(command.tty);
    EXPECT_EQ(command.env, (Arguments{"A=1", "B=2"}));
    EXPECT_EQ(command.cwd, "/c");
    const UserOption user = command.user.value_or(UserOption());
    EXPECT_EQ(user.uid, 1U);
    EXPECT_EQ(user.gid, 2U);
}

TEST(CommandLine, TwoDashesEndTheOptions) {
    EXPECT_EQ(parsed({"exec", "web", "--", "ls"}).args, Arguments{"ls"});
    EXPECT_EQ(parsed({"exec", "--", "web", "-x"}).args, Arguments{"-x"});
    EXPECT_EQ(parsed({"--", "state", "web"}).verb, Verb::State);
    EXPECT_EQ(parsed({"delete", "-f", "--", "-web"}).id, "-web");
}

TEST(CommandLine, UserWithoutGroupKeepsTheGroup) {
    const UserOption user =
        parsed({"exec", "-u", "7", "web", "ls"}).user.value_or(UserOption{.uid = 0, .gid = 0});
    EXPECT_EQ(user.uid, 7U);
    EXPECT_FALSE(user.gid.has_value());
}

TEST(CommandLine, SignalsAreNamesOrNumbers) {
    EXPECT_EQ(parsed({"kill", "web"}).signal, 15);
    EXPECT_EQ(parsed({"kill", "web", "KILL"}).signal, 9);
    EXPECT_EQ(parsed({"kill", "-a", "web", "SIGHUP"}).signal, 1);
    EXPECT_EQ(parsed({"kill", "--all", "web", "usr1"}).signal, 10);
    EXPECT_EQ(parsed({"kill", "web", "64"}).signal, 64);
    EXPECT_TRUE(parsed({"kill", "-a", "web"}).all);
}

TEST(Kill, R17_SignalsHaveTheNamesOfKill) {
    EXPECT_EQ(parsed({"kill", "web", "0"}).signal, 0);
    EXPECT_EQ(parsed({"kill", "web", ""}).signal, SIGTERM);
    EXPECT_EQ(parsed({"kill", "web", "CLD"}).signal, SIGCHLD);
    EXPECT_EQ(parsed({"kill", "web", "SIGIOT"}).signal, SIGABRT);
    EXPECT_EQ(parsed({"kill", "web", "sigpoll"}).signal, SIGIO);
    EXPECT_EQ(parsed({"kill", "web", "STKFLT"}).signal, SIGSTKFLT);
    EXPECT_EQ(parsed({"kill", "web", "RTMIN"}).signal, 34);
    EXPECT_EQ(parsed({"kill", "web", "sigrtmin+3"}).signal, 37);
    EXPECT_EQ(parsed({"kill", "web", "RTMIN+30"}).signal, 64);
    EXPECT_EQ(parsed({"kill", "web", "RTMAX"}).signal, 64);
    EXPECT_EQ(parsed({"kill", "web", "RTMAX-30"}).signal, 34);
}

TEST(CommandLine, R34_OptionsOfCallersWithoutMeaningAreAccepted) {
    EXPECT_EQ(
        parsed({"--systemd-cgroup", "--debug", "--rootless", "auto", "--rootless=false", "--criu",
                "/c", "create", "--no-pivot", "--no-new-keyring", "--preserve-fds", "0", "web"})
            .id,
        "web");
    EXPECT_EQ(parsed({"run", "--no-subreaper", "--no-pivot", "--no-new-keyring", "web"}).id, "web");
    EXPECT_EQ(parsed({"exec", "--ignore-paused", "--cgroup", "/", "--cgroup=pids:", "--apparmor",
                      "", "--process-label=", "--preserve-fds=0", "web", "ls"})
                  .args,
              Arguments{"ls"});
}

TEST(CommandLine, R34_OptionsOfCallersWithMeaningAreKept) {
    EXPECT_TRUE(parsed({"run", "--keep", "web"}).keep);
    EXPECT_EQ(parsed({"create", "--pidfd-socket", "/s", "web"}).pidfd_socket, "/s");
    const Command exec = parsed({"exec", "-g", "5", "--additional-gids=6", "-c", "CAP_SYS_ADMIN",
                                 "--cap", "CAP_CHOWN", "--no-new-privs", "web", "ls"});
    EXPECT_EQ(exec.additional_gids, (std::vector<std::uint32_t>{5, 6}));
    EXPECT_EQ(exec.capabilities, 1U << 21U | 1U);
    EXPECT_TRUE(exec.no_new_privileges);
}

TEST(CommandLine, SameLetterMeansWhatTheVerbMeans) {
    EXPECT_TRUE(parsed({"delete", "-f", "web"}).force);
    EXPECT_EQ(parsed({"list", "-f", "json", "-q"}).list_format, Format::Json);
}

TEST(CommandLine, HelpIsAskedForInThreeWays) {
    EXPECT_EQ(parsed({"--help"}).verb, Verb::Help);
    EXPECT_EQ(parsed({"run", "--help", "--nonsense"}).topic, Verb::Run);
    EXPECT_EQ(parsed({"help", "kill"}).topic, Verb::Kill);
    EXPECT_EQ(parsed({"--version"}).verb, Verb::Version);
}

struct Mistake {
    Arguments arguments;
    std::string message;
    Mistake(Arguments its_arguments, std::string its_message)
        : arguments(std::move(its_arguments)), message(std::move(its_message)) {}
    friend std::ostream& operator<<(std::ostream& out, const Mistake& mistake) {
        return out << mistake.message;
    }
};

class RefusedLine : public testing::TestWithParam<Mistake> {};
TEST_P(RefusedLine, IsOneLine) {
    Command command;
    const auto result = parse_command_line(GetParam().arguments, command);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().message(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    CommandLine, RefusedLine,
    testing::Values(
        Mistake({}, "no command given; try --help"),
        Mistake({"frob"}, "unknown command 'frob'; try --help"),
        Mistake({"run"}, "no container id given"),
        Mistake({"run", "a", "b"}, "unexpected argument 'b'"),
        Mistake({"run", "--root", "/r", "a"}, "unknown option '--root'"),
        Mistake({"--bundle", "/b", "run", "a"}, "unknown option '--bundle'"),
        Mistake({"create", "-d", "a"}, "unknown option '-d'"),
        Mistake({"run", "--bundle"}, "option '--bundle' needs a value"),
        Mistake({"run", "--bundle=", "a"}, "option '--bundle': must not be empty"),
        Mistake({"run", "--detach=yes", "a"}, "option '--detach' takes no value"),
        Mistake({"run", "--cpus", "9", "a"}, "option '--cpus': must be a whole number from 1 to 8"),
        Mistake({"run", "--cpus", "0", "a"}, "option '--cpus': must be a whole number from 1 to 8"),
        Mistake({"run", "--memory", "63", "a"},
                "option '--memory': must be a whole number from 64 to 65536"),
        Mistake({"run", "--memory", "1k", "a"},
                "option '--memory': must be a whole number from 64 to 65536"),
        Mistake({"run", "--scratch", "15", "a"},
                "option '--scratch': must be a whole number from 16 to 65536, or 0"),
        Mistake({"run", "--scratch", "65537", "a"},
                "option '--scratch': must be a whole number from 16 to 65536, or 0"),
        Mistake({"run", "--scratch", "1G", "a"},
                "option '--scratch': must be a whole number from 16 to 65536, or 0"),
        Mistake({"--isolation", "none", "list"},
                "option '--isolation': must be kvm, tcg, process or auto"),
        Mistake({"--log-format", "xml", "list"}, "option '--log-format': must be text or json"),
        Mistake({"run", "a/b"}, "container id 'a/b' must be 1 to 128 of [A-Za-z0-9._+-]"),
        Mistake({"exec", "a"}, "no command for the container given"),
        Mistake({"exec", "-p", "f", "a", "ls"},
                "option '--process' and a command exclude each other"),
        Mistake({"exec", "-e", "A", "a", "ls"}, "option '-e': must be KEY=VALUE"),
        Mistake({"exec", "-u", "root", "a", "ls"},
                "option '-u': must be a whole number from 0 to 4294967294"),
        Mistake({"exec", "--cwd", "x", "a", "ls"}, "option '--cwd': must be an absolute path"),
        Mistake({"kill", "a", "65"}, "no such signal: '65'"),
        Mistake({"kill", "a", "SIGSIGCONT"}, "no such signal: 'SIGSIGCONT'"),
        Mistake({"kill", "a", "RTMIN+31"}, "no such signal: 'RTMIN+31'"),
        Mistake({"kill", "a", "RTMIN-1"}, "no such signal: 'RTMIN-1'"),
        Mistake({"kill", "a", "RTMAX+1"}, "no such signal: 'RTMAX+1'"),
        Mistake({"kill", "a", "RTMIN+"}, "no such signal: 'RTMIN+'"),
        Mistake({"kill", "a", "SIGNOPE"}, "no such signal: 'SIGNOPE'"),
        Mistake({"kill", "a", "9", "9"}, "unexpected argument '9'"),
        // R34: what a microVM cannot do is refused with the reason.
        Mistake({"--rootless", "true", "list"},
                "option '--rootless': is not supported: a microVM needs root on the host"),
        Mistake({"--rootless", "maybe", "list"},
                "option '--rootless': must be true, false or auto"),
        Mistake({"spec", "--rootless"},
                "option '--rootless': is not supported: a microVM needs root on the host"),
        Mistake({"create", "--preserve-fds", "1", "a"},
                "option '--preserve-fds': is not supported: descriptors of the host do not reach "
                "into a guest"),
        Mistake({"exec", "--apparmor", "p", "a", "ls"},
                "option '--apparmor': is not supported: the guest has no security module"),
        Mistake({"exec", "--process-label", "l", "a", "ls"},
                "option '--process-label': is not supported: the guest has no security module"),
        Mistake({"exec", "--cgroup", "pids:/sub", "a", "ls"},
                "option '--cgroup': is not supported: a container has one cgroup"),
        Mistake({"exec", "-c", "SYS_ADMIN", "a", "ls"},
                "option '-c': no such capability: 'SYS_ADMIN'"),
        Mistake({"restore", "a"}, "command 'restore' is not supported"),
        Mistake({"update", "--memory", "1x", "a"},
                "option '--memory': must be a size such as 64m, or -1"),
        Mistake({"update", "--memory", "-2", "a"},
                "option '--memory': must be a size such as 64m, or -1"),
        Mistake({"update", "--memory", "9000000000g", "a"},
                "option '--memory': must be a size such as 64m, or -1"),
        Mistake({"update", "--cpu-quota", "much", "a"},
                "option '--cpu-quota': must be a whole number"),
        Mistake({"update", "--l3-cache-schema", "L3:0=f", "a"},
                "option '--l3-cache-schema': is not supported: the guest has no resctrl"),
        Mistake({"events", "--interval", "5h", "a"},
                "option '--interval': must be a time such as 5s or 500ms"),
        Mistake({"pause"}, "no container id given"),
        Mistake({"list", "a"}, "unexpected argument 'a'"),
        Mistake({"list", "-f", "xml"}, "option '-f': must be table or json")));

TEST(CommandLine, UpdateTakesRuncsUnits) {
    const ResourceOptions some =
        parsed({"update", "--memory", "64m", "--memory-swap=-1", "--memory-reservation", "2MiB",
                "--cpu-quota", "-1", "--pids-limit", "7", "--cpuset-cpus", "0-1", "web"})
            .resources;
    EXPECT_EQ(some.memory, 64 << 20);
    EXPECT_EQ(some.memory_swap, -1);
    EXPECT_EQ(some.memory_reservation, 2 << 20);
    EXPECT_EQ(some.cpu_quota, -1);
    EXPECT_EQ(some.pids, 7);
    EXPECT_EQ(some.cpus, "0-1");
    EXPECT_FALSE(some.cpu_period.has_value());
    EXPECT_EQ(parsed({"update", "--memory", "1024", "web"}).resources.memory, 1024);
    EXPECT_EQ(parsed({"update", "--memory", "7b", "web"}).resources.memory, 7);
    EXPECT_EQ(parsed({"update", "--resources=-", "web"}).resources.file, "-");
}

TEST(CommandLine, OptionsBehindTheContainerArePss) {
    const Command command = parsed({"ps", "-f", "json", "web", "-o", "pid,comm"});
    EXPECT_EQ(command.id, "web");
    EXPECT_EQ(command.list_format, Format::Json);
    EXPECT_EQ(command.args, (Arguments{"-o", "pid,comm"}));
}

TEST(CommandLine, EventsHaveAnInterval) {
    using std::chrono::milliseconds;
    EXPECT_EQ(parsed({"events", "web"}).interval, milliseconds(5000));
    EXPECT_EQ(parsed({"events", "--interval", "2s", "web"}).interval, milliseconds(2000));
    EXPECT_EQ(parsed({"events", "--interval=20ms", "web"}).interval, milliseconds(20));
    EXPECT_TRUE(parsed({"events", "--stats", "web"}).stats);
}

TEST(CommandLine, AMistakeAfterTheVerbKeepsTheVerb) {
    Command command;
    EXPECT_FALSE(parse_command_line(Arguments{"run", "--nope"}, command).has_value());
    EXPECT_EQ(command.verb, Verb::Run);
}

TEST(HelpText, IsGolden) {
    std::string all = help_text(Verb::None);
    for (const Verb verb : {Verb::Run, Verb::Create, Verb::Start, Verb::Exec, Verb::Kill,
                            Verb::Delete, Verb::State, Verb::List, Verb::Pause, Verb::Resume,
                            Verb::Ps, Verb::Update, Verb::Events, Verb::Spec, Verb::Features}) {
        all += "\n" + help_text(verb);
    }
    test::expect_golden("runtime/help.txt", all);
}

}  // namespace
}  // namespace pepita::runtime::cli
