#include "cri/signals.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <optional>

#include "cri/api/cri.h"

namespace pepita::cri {
namespace {

TEST(Signals, HaveNamesNumbersAndOffsets) {
    EXPECT_EQ(signal_number("SIGTERM"), SIGTERM);
    EXPECT_EQ(signal_number("TERM"), SIGTERM);
    EXPECT_EQ(signal_number("9"), SIGKILL);
    EXPECT_EQ(signal_number("SIGRTMIN+3"), 37);
    EXPECT_EQ(signal_number("RTMIN"), 34);
    EXPECT_EQ(signal_number("SIGRTMAX-1"), 63);
    for (const char* name : {"", "0", "65", "-1", "SIGNONE", "SIGRTMIN+31", "SIGRTMIN-1", "term"}) {
        EXPECT_EQ(signal_number(name), std::nullopt) << name;
    }
}

TEST(Signals, EachOfCrisHasItsNumber) {
    EXPECT_EQ(signal_number(v1::SIGNAL_RUNTIME_DEFAULT), 0);
    EXPECT_EQ(signal_number(v1::SIGNAL_SIGTERM), SIGTERM);
    EXPECT_EQ(signal_number(v1::SIGNAL_SIGCLD), SIGCHLD);
    EXPECT_EQ(signal_number(v1::SIGNAL_SIGRTMINPLUS15), 49);
    EXPECT_EQ(signal_number(v1::SIGNAL_SIGRTMAXMINUS14), 50);
    EXPECT_EQ(signal_number(v1::SIGNAL_SIGRTMAX), 64);
    for (int value = 1; value <= v1::SIGNAL_SIGRTMAX; ++value) {
        EXPECT_NE(signal_number(static_cast<v1::Signal>(value)), 0) << value;
    }
}

}  // namespace
}  // namespace pepita::cri
