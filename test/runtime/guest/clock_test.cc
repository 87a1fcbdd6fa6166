#include "runtime/guest/clock.h"

#include <gtest/gtest.h>

#include <chrono>

namespace pepita::runtime::guest {
namespace {

// Stepping is tested in a guest, whose clock it is: integration/lifecycle.
TEST(Clock, AnOffsetOfZeroReadsTheTime) {
    const auto before = std::chrono::system_clock::now().time_since_epoch();
    const auto read = step_clock(std::chrono::nanoseconds(0));
    const auto after = std::chrono::system_clock::now().time_since_epoch();
    EXPECT_GE(read.value(), before);
    EXPECT_LE(read.value(), after);
}

}  // namespace
}  // namespace pepita::runtime::guest
