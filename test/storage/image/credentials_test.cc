#include "storage/image/credentials.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "storage/image_pull.h"

namespace pepita::storage {
namespace {

using image::base64_decoded;
using image::base64_encoded;
using image::Challenge;
using image::parse_challenge;

TEST(Challenge, IsReadAsRegistriesWriteIt) {
    const auto challenge = parse_challenge(
        R"(Bearer realm="https://auth.example/token",service="a b",scope="repository:x:pull,push")");
    ASSERT_TRUE(challenge.has_value());
    EXPECT_EQ(challenge->scheme, Challenge::Scheme::Bearer);
    EXPECT_EQ(challenge->parameters.at("realm"), "https://auth.example/token");
    EXPECT_EQ(challenge->parameters.at("service"), "a b");
    EXPECT_EQ(challenge->parameters.at("scope"), "repository:x:pull,push");
    EXPECT_EQ(parse_challenge("basic Realm=x")->parameters.at("realm"), "x");
    EXPECT_TRUE(parse_challenge("Basic").has_value());
    EXPECT_FALSE(parse_challenge("Negotiate").has_value());
    EXPECT_FALSE(parse_challenge("").has_value());
    EXPECT_FALSE(parse_challenge(R"(Bearer realm="no end)").has_value());
    EXPECT_FALSE(parse_challenge("Bearer nothing").has_value());
}

TEST(Base64, GoesBothWays) {
    for (const std::string text : {"", "a", "ab", "abc", "user:pass"}) {
        EXPECT_EQ(base64_decoded(base64_encoded(text)).value(), text);
    }
    EXPECT_EQ(base64_encoded("user:pass"), "dXNlcjpwYXNz");
    EXPECT_FALSE(base64_decoded("dXN"));
    EXPECT_FALSE(base64_decoded("d*N="));
}

TEST(DockerConfig, HasAnEntryForARegistry) {
    constexpr std::string_view text = R"({"auths":{
        "r.example:5000":{"auth":"dXNlcjpwYXNz"},
        "https://index.docker.io/v1/":{"username":"u","password":"p"},
        "t.example":{"identitytoken":"i"}}})";
    EXPECT_EQ(read_docker_config(text, "r.example:5000")->auth, "dXNlcjpwYXNz");
    EXPECT_EQ(read_docker_config(text, "docker.io")->username, "u");
    EXPECT_EQ(read_docker_config(text, "t.example")->identity_token, "i");
    EXPECT_EQ(*read_docker_config(text, "other.example"), RegistryAuth{});
    EXPECT_EQ(*read_docker_config("{}", "other.example"), RegistryAuth{});
    EXPECT_EQ(read_docker_config(R"({"credsStore":"x"})", "a.example").error().code(),
              Code::Unsupported);
    EXPECT_FALSE(read_docker_config("[", "a.example"));
}

}  // namespace
}  // namespace pepita::storage
