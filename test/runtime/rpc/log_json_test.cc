#include "runtime/rpc/log_json.h"

#include <gtest/gtest.h>

#include <string>

#include "runtime/rpc/json.h"

namespace pepita::runtime {
namespace {

TEST(LogJson, LineHasLevelTextTimeAndFields) {
    const std::string line = log_json("warn", "link lost", {{"pod", "web-1"}, {"vcpus", 4}});
    ASSERT_TRUE(line.ends_with("}\n")) << line;
    const auto parsed = oci::Json::parse(line);
    EXPECT_EQ(parsed.at("level"), "warn");
    EXPECT_EQ(parsed.at("msg"), "link lost");
    EXPECT_EQ(parsed.at("pod"), "web-1");
    EXPECT_EQ(parsed.at("vcpus"), "4");
    EXPECT_TRUE(parsed.at("time").get<std::string>().ends_with("Z")) << line;
}

TEST(LogJson, ForeignBytesCannotForgeALine) {
    const std::string line =
        log_json("warn", "guest", {{"text", std::string("a\"}\n{\xff")}, {"level", "info"}});
    EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
    EXPECT_EQ(oci::Json::parse(line).at("level"), "warn");
}

}  // namespace
}  // namespace pepita::runtime
