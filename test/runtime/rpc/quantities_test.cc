#include "runtime/rpc/quantities.h"

#include <gtest/gtest.h>

#include <chrono>

#include "kernel-abi/sys/units.h"

namespace pepita::runtime {
namespace {

using std::chrono::milliseconds;

TEST(Quantities, SizesAreBytesWithBinarySuffixes) {
    EXPECT_EQ(parse_size("4096").value(), Bytes(4096));
    EXPECT_EQ(parse_size("1K").value(), Bytes(1024));
    EXPECT_EQ(parse_size("1T").value(), Bytes(1ULL << 40U));
    EXPECT_EQ(parse_size("8388608T").value(), Bytes(1ULL << 63U));
    for (const char* bad :
         {"", "0", "0M", "-1", "1X", "1MB", "M", "8388609T", "18446744073709551616", "1 M"}) {
        EXPECT_FALSE(parse_size(bad).has_value()) << bad;
    }
}

TEST(Quantities, TimesAreSecondsOrHaveAUnit) {
    EXPECT_EQ(parse_time("10").value(), milliseconds(10'000));
    EXPECT_EQ(parse_time("10s").value(), milliseconds(10'000));
    EXPECT_EQ(parse_time("500ms").value(), milliseconds(500));
    EXPECT_EQ(parse_time("2m").value(), milliseconds(120'000));
    EXPECT_EQ(parse_time("8760h").value(), milliseconds(31'536'000'000));
    for (const char* bad : {"", "0", "0s", "-1s", "1.5s", "1d", "s", "8761h", "1 s",
                            "18446744073709551616", "18446744073709551615h"}) {
        EXPECT_FALSE(parse_time(bad).has_value()) << bad;
    }
}

}  // namespace
}  // namespace pepita::runtime
