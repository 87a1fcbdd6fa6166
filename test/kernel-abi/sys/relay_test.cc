#include "kernel-abi/sys/relay.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"

namespace pepita {
namespace {

std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        text[i] = static_cast<char>((i * 31 + i / 251) % 256);
    }
    return text;
}

class RelayTest : public testing::Test {
protected:
    void SetUp() override {
        (void)::signal(SIGPIPE, SIG_IGN);
        auto [left, our_left] = *socket_pair();
        auto [right, our_right] = *socket_pair();
        left_ = std::move(left);
        right_ = std::move(right);
        auto made = Relay::create(*loop_, std::move(our_left), std::move(our_right), [this] {
            is_over_ = true;
            relay_.reset();
        });
        ASSERT_TRUE(made.has_value());
        relay_ = *std::move(made);
    }

    // Turns the loop until the claim holds.
    void until(const std::function<bool()>& claim) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        bool holds = claim();
        while (!holds && std::chrono::steady_clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(10)).has_value());
            holds = claim();
        }
        ASSERT_TRUE(holds);
    }
    static void put(const Fd& fd, std::string_view text) {
        ASSERT_EQ(::send(fd.ref().number(), text.data(), text.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(text.size()));
    }
    // Adds what waits; false at the end of the stream.
    static bool take(const Fd& fd, std::string& into) {
        std::string part(65536, '\0');
        const ssize_t got = ::recv(fd.ref().number(), part.data(), part.size(), MSG_DONTWAIT);
        into.append(part, 0, got > 0 ? static_cast<std::size_t>(got) : 0);
        return got > 0 || (got < 0 && errno == EAGAIN);
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Fd left_;
    Fd right_;
    bool is_over_ = false;
    std::unique_ptr<Relay> relay_;
};

TEST_F(RelayTest, BytesGoBothWays) {
    put(left_, "question");
    put(right_, "answer");
    std::string at_right;
    std::string at_left;
    until([&] { return take(right_, at_right) && at_right == "question"; });
    until([&] { return take(left_, at_left) && at_left == "answer"; });
    EXPECT_FALSE(is_over_);
}

TEST_F(RelayTest, AHalfClosedSideStillGetsTheAnswer) {
    put(left_, "question");
    ASSERT_EQ(::shutdown(left_.ref().number(), SHUT_WR), 0);
    std::string at_right;
    until([&] { return !take(right_, at_right); });
    EXPECT_EQ(at_right, "question");
    EXPECT_FALSE(is_over_);
    put(right_, "answer");
    { const Fd gone = std::move(right_); }
    std::string at_left;
    until([&] { return !take(left_, at_left); });
    EXPECT_EQ(at_left, "answer");
    until([this] { return is_over_; });
}

TEST_F(RelayTest, ASlowReaderHoldsTheWriterBackAndLosesNothing) {
    const std::string sent = pattern(std::size_t{8} << 20);
    std::string_view left_to_send = sent;
    // Nobody reads: after a while nothing more is taken.
    const auto send = [&] {
        const ssize_t taken = ::send(left_.ref().number(), left_to_send.data(), left_to_send.size(),
                                     MSG_DONTWAIT | MSG_NOSIGNAL);
        left_to_send.remove_prefix(taken > 0 ? static_cast<std::size_t>(taken) : 0);
        return taken > 0;
    };
    bool is_held_back = false;
    until([&] { return std::exchange(is_held_back, !send()) && is_held_back; });
    EXPECT_GT(left_to_send.size(), sent.size() / 2);
    std::string got;
    until([&] {
        (void)send();
        return take(right_, got) && got.size() == sent.size();
    });
    EXPECT_EQ(got, sent);
}

TEST_F(RelayTest, ASideThatGoesEndsTheOtherWithoutANewByte) {
    { const Fd gone = std::move(left_); }
    std::string at_right;
    until([&] { return !take(right_, at_right); });
    until([this] { return is_over_; });
    EXPECT_EQ(::send(right_.ref().number(), "x", 1, MSG_NOSIGNAL), -1);
}

TEST_F(RelayTest, ARelayThatGoesClosesBoth) {
    relay_.reset();
    std::string nothing;
    EXPECT_FALSE(take(left_, nothing));
    EXPECT_FALSE(take(right_, nothing));
    EXPECT_FALSE(is_over_);
}

}  // namespace
}  // namespace pepita
