#include "cri/cli/node_command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "test/support/golden.h"

namespace pepita::cri::cli {
namespace {

using Words = std::vector<std::string>;

NodeCommand parsed(const Words& arguments) {
    NodeCommand command;
    const auto result = parse_node_command_line(arguments, command);
    EXPECT_TRUE(result) << result.error().message();
    return command;
}

std::string refused(const Words& arguments) {
    NodeCommand command;
    const auto result = parse_node_command_line(arguments, command);
    EXPECT_FALSE(result);
    return result ? "" : result.error().message();
}

TEST(NodeCommandLine, WhatIsBehindTheImageIsTheCommands) {
    const NodeCommand command =
        parsed({"run", "--name", "db", "web", "-p", "8080:80", "busybox", "sh", "-c", "ls --all"});
    EXPECT_EQ(command.verb, NodeVerb::Run);
    EXPECT_EQ(command.words, (Words{"web", "busybox", "sh", "-c", "ls --all"}));
    EXPECT_EQ(command.name, "db");
    EXPECT_EQ(command.published, std::vector({Published{.host = 8080, .container = 80}}));
}

TEST(NodeCommandLine, ACommandMayBeSetApart) {
    EXPECT_EQ(parsed({"exec", "web", "--", "-x", "--", "y"}).words,
              (Words{"web", "-x", "--", "y"}));
    EXPECT_EQ(parsed({"exec", "web", "ls", "--socket"}).words, (Words{"web", "ls", "--socket"}));
    EXPECT_EQ(parsed({"exec", "--socket", "/s", "web", "ls"}).socket, "/s");
}

TEST(NodeCommandLine, WhatIsMissingOrTooMuchIsNamed) {
    EXPECT_EQ(refused({}), "no command given; try --help");
    EXPECT_EQ(refused({"fly"}), "unknown command 'fly'; try --help");
    EXPECT_EQ(refused({"run", "web"}), "needs POD IMAGE [COMMAND...]");
    EXPECT_EQ(refused({"exec", "web"}), "needs CONTAINER COMMAND...");
    EXPECT_EQ(refused({"stop"}), "needs NAME...");
    EXPECT_EQ(refused({"pods", "web"}), "unexpected argument 'web'");
    EXPECT_EQ(refused({"logs", "one", "two"}), "unexpected argument 'two'");
    EXPECT_EQ(refused({"run", "-p", "80", "web", "busybox"}),
              "option '-p': must be HOST_PORT:CONTAINER_PORT");
    EXPECT_EQ(refused({"run", "-p", "0:80", "web", "busybox"}),
              "option '-p': must be a whole number from 1 to 65535");
    EXPECT_NE(refused({"pods", "--name", "x"}).find("--name"), std::string::npos);
}

TEST(NodeCommandLine, HelpIsOfAllOrOfOne) {
    EXPECT_EQ(parsed({"--help"}).verb, NodeVerb::Help);
    EXPECT_EQ(parsed({"run", "--help"}).topic, NodeVerb::Run);
    EXPECT_EQ(parsed({"--version"}).verb, NodeVerb::Version);
    test::expect_golden("cri/help.txt", node_help_text(NodeVerb::None));
    test::expect_golden("cri/help_run.txt", node_help_text(NodeVerb::Run));
}

}  // namespace
}  // namespace pepita::cri::cli
