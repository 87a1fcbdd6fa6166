#include "kernel-abi/sys/eventfd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita {
namespace {

TEST(Eventfd, CountsSignalsUntilDrained) {
    const Result<Fd> fd = create_eventfd();
    ASSERT_TRUE(fd.has_value());
    EXPECT_EQ(drain_eventfd(fd->ref()), 0U);
    signal_eventfd(fd->ref());
    signal_eventfd(fd->ref());
    EXPECT_EQ(drain_eventfd(fd->ref()), 2U);
    EXPECT_EQ(drain_eventfd(fd->ref()), 0U);
}

// What the other holder of an eventfd can do to it.
class LentEventfdTest : public testing::Test {
protected:
    void make_blocking() { ASSERT_EQ(::fcntl(lent_.ref().number(), F_SETFL, 0), 0); }

    Fd lent_ = *create_eventfd();
};

TEST_F(LentEventfdTest, X1_AFullOneIsNotWaitedFor) {
    make_blocking();
    const std::uint64_t most = UINT64_MAX - 1;
    ASSERT_EQ(::write(lent_.ref().number(), &most, sizeof(most)), 8);
    signal_lent_eventfd(lent_.ref());
    EXPECT_EQ(drain_lent_eventfd(lent_.ref()).value(), most);
    signal_lent_eventfd(lent_.ref());
    EXPECT_EQ(drain_lent_eventfd(lent_.ref()).value(), 1U);
}

TEST_F(LentEventfdTest, X1_AnEmptyOneIsNotWaitedFor) {
    make_blocking();
    EXPECT_EQ(drain_lent_eventfd(lent_.ref()).value(), 0U);
}

TEST_F(LentEventfdTest, X1_WhatIsNoEventfdIsRefused) {
    EXPECT_TRUE(check_lent_eventfd(lent_.ref()).has_value());
    signal_eventfd(lent_.ref());
    EXPECT_TRUE(check_lent_eventfd(lent_.ref()).has_value());
    EXPECT_EQ(drain_eventfd(lent_.ref()), 1U) << "the check takes nothing";
    const auto code = [](const Fd& fd) { return check_lent_eventfd(fd.ref()).error().code(); };
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const Fd out(ends[0]);
    const Fd in(ends[1]);
    const auto sockets = *socket_pair();
    EXPECT_EQ(code(out), Code::InvalidArgument);
    EXPECT_EQ(code(in), Code::InvalidArgument);
    EXPECT_EQ(code(sockets.first), Code::InvalidArgument);
    EXPECT_EQ(code(Fd(::memfd_create("lent", MFD_CLOEXEC))), Code::InvalidArgument);
    EXPECT_EQ(code(Fd(::open("/dev/zero", O_RDWR | O_CLOEXEC))), Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita
