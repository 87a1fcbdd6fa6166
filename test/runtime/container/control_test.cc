#include "runtime/container/control.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::runtime::container {
namespace {

using Kind = ControlMessage::Kind;

class ControlTest : public testing::Test {
protected:
    ControlPair pair_ = *control_pair();
};

TEST_F(ControlTest, AMessageArrivesAsItWasSent) {
    ASSERT_TRUE(send_control(pair_.child.ref(),
                             {.kind = Kind::Failed, .value = 5, .words = "mount '/proc'", .fd = {}})
                    .has_value());
    const auto message = receive_control(pair_.parent.ref());
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->kind, Kind::Failed);
    EXPECT_EQ(message->words, "mount '/proc'");
    EXPECT_FALSE(message->fd.has_value());
    EXPECT_EQ(error_of(*message).code(), Code::NotFound);
    EXPECT_EQ(error_of(*message).message(), "mount '/proc'");
}

TEST_F(ControlTest, ADescriptorComesAlongAndIsClosedOnExec) {
    ASSERT_TRUE(
        send_control(
            pair_.child.ref(),
            {.kind = Kind::Ready, .value = 0, .words = {}, .fd = *open_file("/dev/zero", O_RDONLY)})
            .has_value());
    const auto message = receive_control(pair_.parent.ref());
    ASSERT_TRUE(message.has_value() && message->fd.has_value());
    const int number = message->fd->ref().number();
    struct stat about{};
    struct stat zero{};
    ASSERT_EQ(::fstat(number, &about), 0);
    ASSERT_EQ(::stat("/dev/zero", &zero), 0);
    EXPECT_EQ(about.st_rdev, zero.st_rdev);
    EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC);
}

TEST_F(ControlTest, MessagesKeepTheirOrderAndBounds) {
    for (const std::string_view words : {"one", "", "three"}) {
        ASSERT_TRUE(
            send_control(pair_.child.ref(),
                         {.kind = Kind::Failed, .value = 13, .words = std::string(words), .fd = {}})
                .has_value());
    }
    EXPECT_EQ(receive_control(pair_.parent.ref())->words, "one");
    EXPECT_EQ(receive_control(pair_.parent.ref())->words, "");
    EXPECT_EQ(receive_control(pair_.parent.ref())->words, "three");
}

TEST_F(ControlTest, AClosedEndIsSaid) {
    pair_.child = Fd();
    const auto message = receive_control(pair_.parent.ref());
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->kind, Kind::Closed);
}

TEST_F(ControlTest, WhatWasSaidBeforeTheEndClosedStillComes) {
    ASSERT_TRUE(send_control(pair_.child.ref(),
                             {.kind = Kind::ExecFailed, .value = ENOENT, .words = {}, .fd = {}})
                    .has_value());
    pair_.child = Fd();
    EXPECT_EQ(receive_control(pair_.parent.ref())->value, static_cast<unsigned>(ENOENT));
    EXPECT_EQ(receive_control(pair_.parent.ref())->kind, Kind::Closed);
}

TEST_F(ControlTest, NobodyToSendToIsUnavailable) {
    pair_.child = Fd();
    const auto sent =
        send_control(pair_.parent.ref(), {.kind = Kind::Start, .value = 0, .words = {}, .fd = {}});
    ASSERT_FALSE(sent.has_value());
    EXPECT_EQ(sent.error().code(), Code::Unavailable);
}

TEST_F(ControlTest, WordsBeyondTheLimitAreCut) {
    constexpr std::size_t kLimit = 1023;  // and the NUL
    for (const std::size_t size : {kLimit, kLimit + 1, 10 * kLimit}) {
        ASSERT_TRUE(
            send_control(
                pair_.child.ref(),
                {.kind = Kind::Failed, .value = 13, .words = std::string(size, 'x'), .fd = {}})
                .has_value());
        EXPECT_EQ(receive_control(pair_.parent.ref())->words, std::string(kLimit, 'x'));
    }
}

TEST_F(ControlTest, AMessageOfAnotherSizeIsDataLoss) {
    const std::array<std::byte, 3> few{};
    ASSERT_TRUE(send_some(pair_.child.ref(), few).has_value());
    const auto message = receive_control(pair_.parent.ref());
    ASSERT_FALSE(message.has_value());
    EXPECT_EQ(message.error().code(), Code::DataLoss);
    EXPECT_EQ(message.error().message(), "a control message of 3 B");
}

}  // namespace
}  // namespace pepita::runtime::container
