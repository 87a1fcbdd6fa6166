#include "shim/containerd/command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::shim::containerd {
namespace {

using Words = std::vector<std::string>;

TEST(ShimCommandLine, ReadsWhatContainerdWrites) {
    const auto line = parse_command_line(Words{"-namespace", "k8s.io", "-address", "/run/c.sock",
                                               "-publish-binary", "/usr/bin/containerd", "-id",
                                               "web", "-bundle", "/b", "-debug", "start"});
    ASSERT_TRUE(line.has_value());
    EXPECT_EQ(*line, (CommandLine{.verb = CommandLine::Verb::Start,
                                  .name_space = "k8s.io",
                                  .id = "web",
                                  .bundle = "/b",
                                  .address = "/run/c.sock",
                                  .publish_binary = "/usr/bin/containerd"}));
}

TEST(ShimCommandLine, ReadsGosOtherForms) {
    const auto line = parse_command_line(Words{"--namespace=a", "-id=b", "delete"});
    ASSERT_TRUE(line.has_value());
    EXPECT_EQ(line->verb, CommandLine::Verb::Delete);
    EXPECT_EQ(line->name_space + line->id, "ab");
    EXPECT_EQ(parse_command_line(Words{"-v"})->verb, CommandLine::Verb::Version);
    EXPECT_EQ(parse_command_line(Words{"-info"})->verb, CommandLine::Verb::Info);
    EXPECT_EQ(parse_command_line(Words{"-namespace", "a", "-id", "b"})->verb,
              CommandLine::Verb::Serve);
}

std::string refusal(const Words& words) {
    const auto line = parse_command_line(words);
    return line ? "" : line.error().message();
}

TEST(ShimCommandLine, RefusesWhatItDoesNotKnow) {
    EXPECT_EQ(refusal({"-namespace", "a", "-id", "b", "run"}),
              "unknown verb 'run': must be start or delete");
    EXPECT_EQ(refusal({"-namespace", "a", "-id", "b", "start", "x"}), "unexpected argument 'x'");
    EXPECT_EQ(refusal({"-nosuch", "a"}), "unknown flag '-nosuch'");
    EXPECT_EQ(refusal({"-id"}), "flag '-id' needs a value");
}

TEST(ShimCommandLine, RefusesNamesThatLeaveTheirDirectory) {
    EXPECT_TRUE(refusal({"-namespace", "..", "-id", "b", "start"}).contains("-namespace"));
    EXPECT_TRUE(refusal({"-namespace", "a", "-id", "b/c", "start"}).contains("-id"));
    EXPECT_TRUE(refusal({"-namespace", "a", "start"}).contains("-id"));
}

// printf %s /run/c.sock/k8s.io/web | sha256sum
TEST(ShimCommandLine, TheSocketIsWhereContainerdsOwnShimsHaveTheirs) {
    const CommandLine line{.name_space = "k8s.io",
                           .id = "web",
                           .bundle = {},
                           .address = "/run/c.sock",
                           .publish_binary = {}};
    const std::string name = "98e8285683c152cc4725cd3b12674b249b1d8abc6a7dd8ccb9c44ff15ea2e325";
    EXPECT_EQ(socket_path(line, "web").value_or(""), "/run/containerd/s/" + name);
    EXPECT_EQ(socket_path(line, "web", "/d").value_or(""), "/d/s/" + name);
}

}  // namespace
}  // namespace pepita::shim::containerd
