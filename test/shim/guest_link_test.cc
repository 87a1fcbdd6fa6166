#include "shim/guest_link.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::shim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

void say(FdRef socket, const std::string& words) {
    ASSERT_EQ(send_some(socket, std::as_bytes(std::span(words))).value_or(0), words.size());
}

std::string hear(FdRef socket) {
    std::array<std::byte, 64> bytes{};
    const auto got = receive_some(socket, bytes);
    std::string words;
    for (const std::byte byte : std::span(bytes).first(got ? got->size : 0)) {
        words += static_cast<char>(byte);
    }
    return words;
}

// The test plays the VMM: it listens where a guest's vsock would be.
class GuestLinkTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(::mkdtemp(path_.data()), nullptr);
        directory_ = *open_file(path_.c_str(), O_RDONLY | O_DIRECTORY);
        listener_ = *listen_unix_at(directory_.ref(), "v");
    }
    void TearDown() override {
        (void)::unlink((path_ + "/v").c_str());
        EXPECT_EQ(::rmdir(path_.c_str()), 0);
    }

    void connect(milliseconds deadline = seconds(20)) {
        connect_ = GuestConnect::start(
            *loop_,
            {.directory = directory_.ref(), .name = "v", .port = 1024, .deadline = deadline},
            [this](Result<Fd> socket) {
                result_.emplace(std::move(socket));
                loop_->stop();
            });
    }

    std::string path_ = "/tmp/pepita-link-XXXXXX";
    Fd directory_;
    Fd listener_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<GuestConnect> connect_;
    std::optional<Result<Fd>> result_;
};

TEST_F(GuestLinkTest, SaysConnectAndLeavesWhatFollowsTheAnswer) {
    connect();
    const Fd vmm = *accept_client(listener_.ref());
    EXPECT_EQ(hear(vmm.ref()), "CONNECT 1024\n");
    say(vmm.ref(), "OK 1073741824\nfirst words");
    ASSERT_TRUE(loop_->run().has_value());
    ASSERT_TRUE(result_->has_value());
    EXPECT_EQ(hear((*result_)->ref()), "first words");
}

TEST_F(GuestLinkTest, AnAnswerInPiecesIsAnAnswer) {
    connect();
    const Fd vmm = *accept_client(listener_.ref());
    say(vmm.ref(), "O");
    ASSERT_TRUE(loop_->run_once(milliseconds(0)).has_value());
    say(vmm.ref(), "K 1\n");
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_TRUE(result_->has_value());
}

TEST_F(GuestLinkTest, ARefusalIsUnavailable) {
    connect();
    { const Fd vmm = *accept_client(listener_.ref()); }
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(result_->error().code(), Code::Unavailable);
}

TEST_F(GuestLinkTest, GarbageIsDataLossAtTheLineOrAtTheLimit) {
    connect();
    Fd vmm = *accept_client(listener_.ref());
    say(vmm.ref(), "HELLO\n");
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(result_->error().code(), Code::DataLoss);

    loop_ = *EventLoop::create();
    connect();
    vmm = *accept_client(listener_.ref());
    say(vmm.ref(), "OK " + std::string(29, '1'));  // 32 bytes and no end
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(result_->error().code(), Code::DataLoss);
}

TEST_F(GuestLinkTest, X13_OnlyANumberIsOk) {
    for (const std::string answer :
         {"OK \n", "OK x\n", "OK 1x\n", "OK 1 \n", "OK -1\n", "OK 4294967296\n", "OK\n"}) {
        loop_ = *EventLoop::create();
        connect();
        const Fd vmm = *accept_client(listener_.ref());
        say(vmm.ref(), answer);
        ASSERT_TRUE(loop_->run().has_value());
        EXPECT_EQ(result_->has_value(), false) << answer;
    }
}

TEST_F(GuestLinkTest, SilenceEndsAtTheDeadline) {
    connect(milliseconds(5));
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(result_->error().code(), Code::DeadlineExceeded);
}

TEST_F(GuestLinkTest, NobodyThereIsAnsweredLaterNotInTheCall) {
    listener_ = Fd();
    connect();
    EXPECT_FALSE(result_.has_value());
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_FALSE(result_->has_value());
}

TEST_F(GuestLinkTest, OnlyTheReadyWordCounts) {
    int ready = 0;
    const auto listener = ReadyListener::create(*loop_, std::move(listener_), [&] {
        ++ready;
        loop_->stop();
    });
    ASSERT_TRUE(listener.has_value());
    {
        const Fd liar = *connect_unix_at(directory_.ref(), "v");
        say(liar.ref(), "ready?\n");
        ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
        ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    }
    EXPECT_EQ(ready, 0);
    const Fd guest = *connect_unix_at(directory_.ref(), "v");
    say(guest.ref(), "ready\n");
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(ready, 1);
}

}  // namespace
}  // namespace pepita::shim
