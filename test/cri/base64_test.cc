#include "cri/base64.h"

#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pepita::cri {
namespace {

std::string encode(std::string_view text) { return to_base64(std::as_bytes(std::span(text))); }

TEST(Base64, IsThatOfRfc4648) {  // §10
    EXPECT_EQ(encode(""), "");
    EXPECT_EQ(encode("f"), "Zg==");
    EXPECT_EQ(encode("fo"), "Zm8=");
    EXPECT_EQ(encode("foo"), "Zm9v");
    EXPECT_EQ(encode("foobar"), "Zm9vYmFy");
}

TEST(Base64, ReadsWhatItWrites) {
    std::string all;
    for (int byte = 0; byte < 256; ++byte) {
        all.push_back(static_cast<char>(byte));
        EXPECT_EQ(from_base64(encode(all)), all);
    }
}

TEST(Base64, RefusesWhatIsNone) {
    EXPECT_EQ(from_base64("Zg="), std::nullopt);
    EXPECT_EQ(from_base64("Z==="), std::nullopt);
    EXPECT_EQ(from_base64("Zg=="), "f");
    EXPECT_EQ(from_base64("Zg=a"), std::nullopt);
    EXPECT_EQ(from_base64("Z-_="), std::nullopt);
}

}  // namespace
}  // namespace pepita::cri
