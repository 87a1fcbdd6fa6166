#include "kernel-abi/sys/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

namespace pepita {
namespace {

TEST(Log, WritesPlainValuesBare) {
    EXPECT_EQ(log::format("info", "up", {{"pod", "web-1"}, {"vcpus", 4}}),
              "level=info msg=up pod=web-1 vcpus=4\n");
}

TEST(Log, QuotesWhatWouldNotComeBackWhole) {
    EXPECT_EQ(log::format("warn", "link lost", {{"error", "read 'a=b': \"x\""}, {"empty", ""}}),
              "level=warn msg=\"link lost\" error=\"read 'a=b': \\\"x\\\"\" empty=\"\"\n");
}

std::string shout(std::string_view level, std::string_view text,
                  const std::vector<log::Field>& /*fields*/) {
    return std::string(level) + "! " + std::string(text) + "\n";
}

TEST(Log, LinesLookAsChosen) {
    log::use(shout);
    testing::internal::CaptureStderr();
    log::warn("up", {{"pod", "web-1"}});
    log::use(log::format);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "warn! up\n");
}

TEST(LogDeathTest, AFieldOfTheProcessIsInEveryLine) {
    EXPECT_EXIT(
        {
            log::add_to_all({"pod", "web-1"});
            log::warn("up", {{"vcpus", 4}});
            ::_exit(0);
        },
        testing::ExitedWithCode(0), "level=warn msg=up vcpus=4 pod=web-1\n");
}

TEST(Log, ForeignControlCharactersCannotForgeALine) {
    EXPECT_EQ(log::format("warn", "guest", {{"text", std::string("a\nlevel=info \x1b[2J")}}),
              "level=warn msg=guest text=\"a\\nlevel=info \\x1b[2J\"\n");
}

}  // namespace
}  // namespace pepita
