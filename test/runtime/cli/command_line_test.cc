#include "runtime/cli/command_line.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

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
    EXPECT_EQ(command.data, "/d");
    EXPECT_EQ(command.isolation, "tcg");
    EXPECT_EQ(command.shim, "/s");
    EXPECT_EQ(command.log, "/l");
    EXPECT_EQ(command.log_format, Format::Json);
}

TEST(CommandLine, OptionsOfRunStandOnEitherSideOfTheContainer) {
    const Command command = parsed({"run", "-b", "/b", "web", "--detach", "--pid-file", "/p",
                                    "--memory", "256", "--cpus=8", "--scratch", "64"});
    EXPECT_EQ(command.verb, Verb::Run);
    EXPECT_EQ(command.id, "web");
    EXPECT_EQ(command.bundle, "/b");
    EXPECT_TRUE(command.detach);
    EXPECT_EQ(command.pid_file, "/p");
    EXPECT_EQ(command.memory_mib, 256U);
    EXPECT_EQ(command.vcpus, 8U);
    EXPECT_EQ(command.scratch_mib, 64U);
    EXPECT_EQ(parsed({"create", "--scratch=0", "web"}).scratch_mib, 0U);
}

TEST(CommandLine, DefaultsAreRuncs) {
    const Command command = parsed({"run", "web"});
    EXPECT_EQ(command.root, "/run/pepita");
    EXPECT_EQ(command.bundle, ".");
    EXPECT_EQ(command.isolation, "auto");
    EXPECT_FALSE(command.detach);
    EXPECT_EQ(command.scratch_mib, 1024U);
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
        Mistake({"run", "--no-pivot", "a"}, "unknown option '--no-pivot'"),
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
        Mistake({"--isolation", "process", "list"},
                "option '--isolation': must be kvm, tcg or auto"),
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
        Mistake({"kill", "a", "0"}, "no such signal: '0'"),
        Mistake({"kill", "a", "SIGNOPE"}, "no such signal: 'SIGNOPE'"),
        Mistake({"kill", "a", "9", "9"}, "unexpected argument '9'"),
        Mistake({"list", "a"}, "unexpected argument 'a'"),
        Mistake({"list", "-f", "xml"}, "option '-f': must be table or json")));

TEST(CommandLine, AMistakeAfterTheVerbKeepsTheVerb) {
    Command command;
    EXPECT_FALSE(parse_command_line(Arguments{"run", "--nope"}, command).has_value());
    EXPECT_EQ(command.verb, Verb::Run);
}

TEST(HelpText, IsGolden) {
    std::string all = help_text(Verb::None);
    for (const Verb verb : {Verb::Run, Verb::Create, Verb::Start, Verb::Exec, Verb::Kill,
                            Verb::Delete, Verb::State, Verb::List, Verb::Spec}) {
        all += "\n" + help_text(verb);
    }
    test::expect_golden("runtime/help.txt", all);
}

}  // namespace
}  // namespace pepita::runtime::cli
