#include "kernel-abi/sys/utf8.h"

#include <gtest/gtest.h>

#include <string_view>

namespace pepita {
namespace {

using std::string_view_literals::operator""sv;

TEST(Utf8, FirstAndLastCharacterOfEachLength) {
    EXPECT_EQ(utf8_character("\0"sv), 1U);
    EXPECT_EQ(utf8_character("\x7f"), 1U);
    EXPECT_EQ(utf8_character("\xc2\x80"), 2U);
    EXPECT_EQ(utf8_character("\xdf\xbf"), 2U);
    EXPECT_EQ(utf8_character("\xe0\xa0\x80"), 3U);
    EXPECT_EQ(utf8_character("\xef\xbf\xbf"), 3U);
    EXPECT_EQ(utf8_character("\xf0\x90\x80\x80"), 4U);
    EXPECT_EQ(utf8_character("\xf4\x8f\xbf\xbf"), 4U);
}

TEST(Utf8, RefusesWhatIsBesideThem) {
    EXPECT_EQ(utf8_character(""), 0U);
    EXPECT_EQ(utf8_character("\x80"), 0U);              // a byte that only continues
    EXPECT_EQ(utf8_character("\xc1\xbf"), 0U);          // not the shortest form
    EXPECT_EQ(utf8_character("\xe0\x9f\xbf"), 0U);      // not the shortest form
    EXPECT_EQ(utf8_character("\xed\xa0\x80"), 0U);      // a surrogate
    EXPECT_EQ(utf8_character("\xf0\x8f\xbf\xbf"), 0U);  // not the shortest form
    EXPECT_EQ(utf8_character("\xf4\x90\x80\x80"), 0U);  // above U+10FFFF
    EXPECT_EQ(utf8_character("\xff"), 0U);
    EXPECT_EQ(utf8_character("\xe2\x82"), 0U);   // cut off
    EXPECT_EQ(utf8_character("\xe2\x82z"), 0U);  // goes on with something else
}

TEST(Utf8, TextIsUtf8IfAllOfItIs) {
    EXPECT_TRUE(is_utf8(""));
    EXPECT_TRUE(is_utf8("/srv/b\xc3\xbcndel/\xf0\x9f\x90\xb3"));
    EXPECT_FALSE(is_utf8("/srv/b\xfcndel"));
    EXPECT_FALSE(is_utf8("bund\xc3"));
}

TEST(Utf8, PrintableShowsWhatATerminalWouldObey) {
    EXPECT_EQ(printable("a\x1b[2J\n\x7f\xfc"), "a\\x1b[2J\\x0a\\x7f\\xfc");
    EXPECT_EQ(printable("b\xc3\xbc\xc3"), "b\xc3\xbc\\xc3");
}

}  // namespace
}  // namespace pepita
