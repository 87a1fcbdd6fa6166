#include "storage/image/hosts.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"

namespace pepita::storage::image {
namespace {

const std::string kRegistry = "registry.k8s.io";

Result<std::vector<Endpoint>> parse(std::string_view text) {
    return parse_hosts(text, kRegistry, "/d");
}

std::string error_of(std::string_view text) {
    const auto parsed = parse(text);
    return parsed ? "" : parsed.error().message();
}

TEST(Hosts, AreMirrorsAndThenTheServer) {
    const auto endpoints = parse(R"(
server = "https://registry.k8s.io"  # the real one

[host."http://127.0.0.1:5000"]
  capabilities = ["pull", "resolve"]
  skip_verify = true
  ca = "ca.pem"
  client = [["/c/cert.pem", "/c/key.pem"]]
  [host."http://127.0.0.1:5000".header]
    x-a = "one"
    x-b = ["two",
           'three']  # more lines

[host."mirror.example/proxy/v2"]
  capabilities = ['pull']
  override_path = true

[host."https://pushed.example"]
  capabilities = ["push"]
)");
    ASSERT_TRUE(endpoints) << endpoints.error().message();
    ASSERT_EQ(endpoints->size(), 3U);
    const Endpoint& first = endpoints->at(0);
    EXPECT_EQ(first.url, "http://127.0.0.1:5000/v2");
    EXPECT_TRUE(first.tls.skip_verify);
    EXPECT_TRUE(first.resolves);
    EXPECT_FALSE(first.is_registry);
    EXPECT_EQ(first.name_space, kRegistry);
    EXPECT_EQ(first.tls.authorities, std::vector<std::string>{"/d/ca.pem"});
    EXPECT_EQ(first.tls.certificate, "/c/cert.pem");
    EXPECT_EQ(first.tls.key, "/c/key.pem");
    EXPECT_EQ(first.headers, (std::vector<std::string>{"x-a: one", "x-b: two", "x-b: three"}));
    EXPECT_EQ(endpoints->at(1).url, "https://mirror.example/proxy/v2");
    EXPECT_FALSE(endpoints->at(1).resolves);
    EXPECT_EQ(endpoints->at(2).url, "https://registry.k8s.io/v2");
    EXPECT_TRUE(endpoints->at(2).is_registry);
}

TEST(Hosts, AnotherServerIsNotTheRegistry) {
    const auto endpoints = parse("server = \"https://other.example\"\n");
    ASSERT_TRUE(endpoints);
    EXPECT_FALSE(endpoints->at(0).is_registry);
    EXPECT_TRUE(parse("")->at(0).is_registry);
}

TEST(Hosts, WithoutAFileTheRegistryIsAsked) {
    EXPECT_EQ(endpoints_of("docker.io", "")->at(0).url, "https://registry-1.docker.io/v2");
    EXPECT_EQ(endpoints_of("127.0.0.1:5000", "/nowhere")->at(0).url, "http://127.0.0.1:5000/v2");
    EXPECT_EQ(endpoints_of("127.example", "")->at(0).url, "https://127.example/v2");
}

TEST(Hosts, SaysInWhichLineItIsWrong) {
    EXPECT_EQ(error_of("\n\nserver = 1\n"),
              "line 3: a string, true, false or an array is expected");
    EXPECT_EQ(error_of("unknown = true"), "line 1: 'unknown' is not known");
    EXPECT_EQ(error_of("[plugins]"), "line 1: 'plugins' is not known");
    EXPECT_EQ(error_of("server = \"x"), "line 1: a string has no end");
    EXPECT_EQ(error_of("server = \"x\" y"), "line 1: something stands behind the value");
    EXPECT_EQ(error_of("[host.\"x\""), "line 1: ']' is expected");
    EXPECT_NE(error_of("ca = [[[\"x\"]]]"), "");
    EXPECT_NE(error_of("ca = [\"x\""), "");
    EXPECT_NE(error_of("[host.\"ftp://x\"]"), "");
    EXPECT_NE(error_of("[host.\"https://u:p@x\"]"), "");
    EXPECT_NE(error_of("[header]\nx = \"a\\nb\""), "");
    EXPECT_NE(error_of("skip_verify = \"true\""), "");
}

}  // namespace
}  // namespace pepita::storage::image
