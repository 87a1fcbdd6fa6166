#include "storage/daemon/options.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "test/support/golden.h"

namespace pepita::storage::daemon {
namespace {

using Words = std::vector<std::string>;

TEST(DaemonOptions, HaveDefaults) {
    const Options options = parse_options({}).value();
    EXPECT_EQ(options.socket, "/run/pepita/storage/storage.sock");
    EXPECT_EQ(options.memory_file, "/run/pepita/storage/memory");
    EXPECT_EQ(options.memory_limit, 1024_MiB);
    EXPECT_EQ(options.state, "/var/lib/pepita/storage");
    EXPECT_EQ(options.metrics, "");
    EXPECT_EQ(options.cold_after.count(), 0);
    EXPECT_FALSE(options.logs_json);
    EXPECT_FALSE(options.purge);
}

TEST(DaemonOptions, EachIsTaken) {
    const Words words{"--socket=/s", "--memory-file",   "/m",      "--memory-limit",
                      "7",           "--state",         "/st",     "--metrics",
                      "/x.prom",     "--cold-after=60", "--purge", "--log-format",
                      "json"};
    EXPECT_EQ(parse_options(words).value(), (Options{.socket = "/s",
                                                     .memory_file = "/m",
                                                     .memory_limit = 7_MiB,
                                                     .state = "/st",
                                                     .metrics = "/x.prom",
                                                     .cold_after = std::chrono::seconds(60),
                                                     .logs_json = true,
                                                     .purge = true}));
}

TEST(DaemonOptions, TheMemoryIsBesideTheSocket) {
    EXPECT_EQ(parse_options(Words{"--socket", "s"}).value().memory_file, "./memory");
    EXPECT_EQ(parse_options(Words{"--socket", "/s"}).value().memory_file, "//memory");
    EXPECT_EQ(directory_of("/a/b"), "/a");
}

TEST(DaemonOptions, HelpAndVersionAreActions) {
    EXPECT_EQ(parse_options(Words{"-h"}).value().action, Options::Action::Help);
    EXPECT_EQ(parse_options(Words{"--version"}).value().action, Options::Action::Version);
    test::expect_golden("storage/daemon_help.txt", help_text());
}

struct Bad {
    Words words;
    std::string message;
};

class DaemonOptionsBad : public testing::TestWithParam<Bad> {};

TEST_P(DaemonOptionsBad, IsNamed) {
    const Result<Options> options = parse_options(GetParam().words);
    ASSERT_FALSE(options.has_value());
    EXPECT_EQ(options.error().code(), Code::InvalidArgument);
    EXPECT_EQ(options.error().message(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Every, DaemonOptionsBad,
    testing::Values(Bad{{"--frob"}, "unknown option '--frob'"},
                    Bad{{"x"}, "unexpected argument 'x'"},
                    Bad{{"--", "--purge"}, "unexpected argument '--purge'"},
                    Bad{{"--socket"}, "option '--socket' needs a value"},
                    Bad{{"--socket="}, "option '--socket': must not be empty"},
                    Bad{{"--purge=1"}, "option '--purge' takes no value"},
                    Bad{{"--memory-limit", "0"},
                        "option '--memory-limit': must be a whole number from 1 to 1048576"},
                    Bad{{"--memory-limit", "1048577"},
                        "option '--memory-limit': must be a whole number from 1 to 1048576"},
                    Bad{{"--cold-after", "0"},
                        "option '--cold-after': must be a whole number from 1 to 604800"},
                    Bad{{"--log-format", "xml"}, "option '--log-format': must be text or json"}));

}  // namespace
}  // namespace pepita::storage::daemon
