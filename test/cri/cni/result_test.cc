#include "cri/cni/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "cri/cni.h"
#include "kernel-abi/sys/error.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using ::testing::HasSubstr;

Result<CniResult> parse(std::string_view text) {
    return parse_cni_result(*runtime::oci::parse_json(text));
}

TEST(CniResult, HasEveryMemberOfVersion1_1) {
    const auto result = parse(R"({"cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": "00:11:22:33:44:5f", "mtu": 1400, "sandbox": "/run/netns/a"}],
        "ips": [{"address": "10.1.2.3/16", "gateway": "10.1.0.1", "interface": 0}],
        "routes": [{"dst": "::/0", "gw": "fe80::1", "mtu": 1400, "advmss": 1360, "priority": 7, "table": 100, "scope": 253}],
        "dns": {"nameservers": ["10.0.0.1"], "domain": "cluster.local", "search": ["a", "b"], "options": ["ndots:5"]}})");
    ASSERT_TRUE(result);
    const CniResult expected = {
        .interfaces =
            {{.name = "eth0", .mac = "00:11:22:33:44:5f", .sandbox = "/run/netns/a", .mtu = 1400}},
        .ips = {{.address = "10.1.2.3/16", .gateway = "10.1.0.1", .interface = 0}},
        .routes = {{.destination = "::/0",
                    .gateway = "fe80::1",
                    .mtu = 1400,
                    .advmss = 1360,
                    .priority = 7,
                    .table = 100,
                    .scope = 253}},
        .dns = {.name_servers = {"10.0.0.1"},
                .domain = "cluster.local",
                .search = {"a", "b"},
                .options = {"ndots:5"}}};
    EXPECT_EQ(*result, expected);
}

TEST(CniResult, TakesVersion0_4WithItsAddressFamilyAndNoInterface) {
    const auto result =
        parse(R"({"ips": [{"version": "4", "address": "10.1.2.3/16", "interface": -1}]})");
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->ips.at(0).interface);
}

TEST(CniResult, NamesWhatIsWrong) {
    EXPECT_THAT(parse(R"({"ips": [{"address": "10.1.2.3"}]})").error().message(),
                HasSubstr("'10.1.2.3' is no address with a prefix length"));
    EXPECT_THAT(parse(R"({"ips": [{"address": "10.1.2.3/33"}]})").error().message(),
                HasSubstr("'10.1.2.3/33'"));
    EXPECT_THAT(parse(R"({"ips": [{"address": "::1/128", "gateway": "x"}]})").error().message(),
                HasSubstr("'x' is no address"));
    EXPECT_THAT(parse(R"({"ips": [{"address": "::1/128", "interface": 0}]})").error().message(),
                HasSubstr("names no interface"));
    EXPECT_THAT(parse(R"({"routes": [{"dst": "default"}]})").error().message(),
                HasSubstr("'default' is no network"));
    EXPECT_THAT(parse(R"({"interfaces": [{"mac": "00:11:22:33:44:zz"}]})").error().message(),
                HasSubstr("is no MAC address"));
    EXPECT_EQ(parse("[]").error().code(), Code::InvalidArgument);
    EXPECT_EQ(parse(R"({"routes": [{"dst": "::/0", "mtu": -1}]})").error().code(),
              Code::InvalidArgument);
}

TEST(CniResult, TakesAListAtTheLimitAndRefusesOneMore) {
    std::string list = R"({"dst":"::/0"})";
    for (std::size_t count = 1; count < kCniListMax; ++count) {
        list += R"(,{"dst":"::/0"})";
    }
    EXPECT_EQ(parse(R"({"routes":[)" + list + "]}")->routes.size(), kCniListMax);
    EXPECT_THAT(parse(R"({"routes":[)" + list + R"(,{"dst":"::/0"}]})").error().message(),
                HasSubstr("more than 1024"));
}

TEST(CniError, HasTheSpecsCodeAndWords) {
    const Error busy =
        parse_cni_error(R"({"code": 11, "msg": "busy", "details": "later"})", "", "exit status 1");
    EXPECT_EQ(busy.code(), Code::Unavailable);
    EXPECT_EQ(busy.message(), "busy: later (CNI error 11)");
    EXPECT_EQ(parse_cni_error(R"({"code": 3})", "", "").code(), Code::NotFound);
    EXPECT_EQ(parse_cni_error(R"({"code": 7})", "", "").code(), Code::InvalidArgument);
    EXPECT_EQ(parse_cni_error(R"({"code": 999, "msg": "x"})", "", "").code(),
              Code::FailedPrecondition);
}

TEST(CniError, QuotesWhatIsNoErrorObject) {
    EXPECT_EQ(parse_cni_error("", "", "exit status 1").message(), "exit status 1");
    EXPECT_EQ(parse_cni_error("out", "err\n", "exit status 1").message(), "exit status 1: err");
    EXPECT_EQ(parse_cni_error("out\x1b", "", "exit status 1").message(), "exit status 1: out\\x1b");
    EXPECT_EQ(parse_cni_error(std::string(5000, 'x'), "", "e").message().size(), 3 + 1024U);
}

}  // namespace
}  // namespace pepita::cri
