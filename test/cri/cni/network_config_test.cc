#include "cri/cni/network_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"

namespace pepita::cri {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string fault(std::string_view text) { return parse_cni_network(text).error().message(); }

TEST(CniNetwork, ChoosesTheHighestVersionThatBothSpeak) {
    EXPECT_EQ(
        parse_cni_network(
            R"({"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.1.0", "2.0.0"], "name": "a", "plugins": [{"type": "x"}]})")
            ->version,
        "1.1.0");
    EXPECT_EQ(parse_cni_network(R"({"cniVersion": "0.4.0", "name": "a", "type": "x"})")->version,
              "0.4.0");
    EXPECT_THAT(fault(R"({"cniVersion": "2.0.0", "name": "a", "type": "x"})"),
                HasSubstr("'2.0.0' is not among"));
    EXPECT_THAT(fault(R"({"name": "a", "type": "x"})"), HasSubstr("cniVersion: is missing"));
}

TEST(CniNetwork, ReadsCapabilitiesThatAreTrue) {
    const auto network = parse_cni_network(
        R"({"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "x", "capabilities": {"dns": true, "mac": false}}]})");
    EXPECT_THAT(network->plugins.at(0).capabilities, ElementsAre("dns"));
}

TEST(CniNetwork, ReadsFlagsAsBooleansAndAsWords) {
    const auto network = parse_cni_network(
        R"({"cniVersion": "1.0.0", "name": "a", "type": "x", "disableCheck": "true", "disableGC": true})");
    EXPECT_TRUE(network->disable_check);
    EXPECT_TRUE(network->disable_gc);
    EXPECT_THAT(fault(R"({"cniVersion": "1.0.0", "name": "a", "type": "x", "disableGC": "maybe"})"),
                HasSubstr("disableGC"));
}

TEST(CniNetwork, RefusesNamesThatAreNoFileNames) {
    EXPECT_THAT(fault(R"({"cniVersion": "1.0.0", "name": "../a", "type": "x"})"),
                HasSubstr("'../a'"));
    EXPECT_THAT(fault(R"({"cniVersion": "1.0.0", "name": "a", "type": "../x"})"),
                HasSubstr("'../x' is no name of a program"));
    EXPECT_THAT(fault(R"({"cniVersion": "1.0.0", "name": "a", "type": ".."})"), HasSubstr("'..'"));
    EXPECT_THAT(fault(R"({"cniVersion": "1.0.0", "name": "a", "plugins": []})"),
                HasSubstr("has no plugin"));
}

TEST(CniNetwork, ComparesVersionsByNumber) {
    EXPECT_TRUE(is_at_least("1.1.0", "1.1.0"));
    EXPECT_TRUE(is_at_least("0.10.0", "0.4.0"));
    EXPECT_FALSE(is_at_least("0.4.0", "1.0.0"));
}

TEST(CniNetwork, ChecksInterfaceNames) {
    EXPECT_TRUE(check_interface_name("eth0123456789ab"));
    EXPECT_FALSE(check_interface_name("eth0123456789abc"));
    EXPECT_FALSE(check_interface_name("a/b"));
    EXPECT_FALSE(check_interface_name("a:b"));
    EXPECT_FALSE(check_interface_name(".."));
    EXPECT_FALSE(check_interface_name(""));
}

}  // namespace
}  // namespace pepita::cri
