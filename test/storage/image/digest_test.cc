#include "storage/digest.h"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>

namespace pepita::storage {
namespace {

std::string hex_of(std::string_view text) {
    return sha256(std::as_bytes(std::span(text))).value().hex();
}

// FIPS 180-4's own examples.
TEST(Digest, IsSha256) {
    EXPECT_EQ(hex_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hex_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Digest, IsReadAsOciWritesIt) {
    const Digest digest = sha256({}).value();
    EXPECT_EQ(parse_digest(digest.text()).value(), digest);
    EXPECT_EQ(parse_digest(digest.hex()).value(), digest);
    EXPECT_FALSE(parse_digest(digest.hex().substr(1)));
    EXPECT_FALSE(parse_digest("sha256:E3" + digest.hex().substr(2)));
    EXPECT_EQ(parse_digest("sha512:" + digest.hex()).error().code(), Code::Unsupported);
}

}  // namespace
}  // namespace pepita::storage
