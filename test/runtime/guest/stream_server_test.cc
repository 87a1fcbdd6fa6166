#include "runtime/guest/stream_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::runtime::guest {
namespace {

std::string bytes_of(std::uint64_t number) {
    std::string bytes(sizeof(number), '\0');
    std::memcpy(bytes.data(), &number, sizeof(number));
    return bytes;
}

class StreamServerTest : public testing::Test {
protected:
    // The host's end of a connection that the server got.
    Fd connect() {
        auto [ours, theirs] = *socket_pair();
        server_.add(std::move(theirs));
        return std::move(ours);
    }

    static void say(const Fd& fd, std::string_view bytes) {
        ASSERT_EQ(::send(fd.ref().number(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(bytes.size()));
    }

    void run() { ASSERT_TRUE(loop_->run_once(std::chrono::seconds(0)).has_value()); }

    // What is there to read; nothing where the other end is closed.
    static std::optional<std::string> read(const Fd& fd) {
        std::array<char, 64> buffer{};
        const ssize_t got = ::recv(fd.ref().number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            return std::nullopt;
        }
        return std::string(buffer.data(), got < 0 ? 0 : static_cast<std::size_t>(got));
    }
    static bool is_closed(const Fd& fd) { return !read(fd).has_value(); }

    // Expects a stream; its connection ends up in connected_.
    std::uint64_t expect() {
        return *server_.expect([this](Fd fd) { connected_.push_back(std::move(fd)); });
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    StreamServer server_{*loop_};
    std::vector<Fd> connected_;
};

TEST_F(StreamServerTest, NumbersAreNeitherZeroNorEqual) {
    const std::uint64_t one = expect();
    const std::uint64_t other = expect();
    EXPECT_NE(one, 0U);
    EXPECT_NE(one, other);
}

TEST_F(StreamServerTest, AConnectionGoesToTheStreamItNames) {
    std::string first;
    const std::uint64_t one = *server_.expect([&](Fd) { first += "one"; });
    const std::uint64_t other = *server_.expect([&](Fd) { first += "other"; });
    const Fd connection = connect();
    say(connection, bytes_of(other));
    run();
    EXPECT_EQ(first, "other");
    const Fd second = connect();
    say(second, bytes_of(one));
    run();
    EXPECT_EQ(first, "otherone");
}

TEST_F(StreamServerTest, ANumberIsGoodOnce) {
    const std::string number = bytes_of(expect());
    const Fd first = connect();
    say(first, number);
    run();
    const Fd second = connect();
    say(second, number);
    run();
    EXPECT_EQ(connected_.size(), 1U);
    EXPECT_FALSE(is_closed(first));
    EXPECT_TRUE(is_closed(second));
}

TEST_F(StreamServerTest, AWrongNumberIsClosed) {
    const std::uint64_t number = expect();
    const Fd wrong = connect();
    say(wrong, bytes_of(number + 1));
    const Fd zero = connect();
    say(zero, bytes_of(0));
    run();
    EXPECT_TRUE(connected_.empty());
    EXPECT_TRUE(is_closed(wrong));
    EXPECT_TRUE(is_closed(zero));
}

TEST_F(StreamServerTest, AForgottenNumberIsClosed) {
    const std::uint64_t number = expect();
    server_.forget(number);
    server_.forget(0);
    const Fd late = connect();
    say(late, bytes_of(number));
    run();
    EXPECT_TRUE(connected_.empty());
    EXPECT_TRUE(is_closed(late));
}

TEST_F(StreamServerTest, ANumberMayComeByteByByte) {
    const std::string number = bytes_of(expect());
    const Fd slow = connect();
    for (const char byte : number) {
        EXPECT_TRUE(connected_.empty());
        say(slow, std::string_view(&byte, 1));
        run();
    }
    EXPECT_EQ(connected_.size(), 1U);
}

TEST_F(StreamServerTest, WhatFollowsTheNumberIsTheStreams) {
    const Fd eager = connect();
    say(eager, bytes_of(expect()) + "first words");
    run();
    ASSERT_EQ(connected_.size(), 1U);
    EXPECT_EQ(read(connected_.front()), "first words");
}

TEST_F(StreamServerTest, OneThatEndsInItsNumberIsClosed) {
    Fd ended = connect();
    say(ended, bytes_of(expect()).substr(0, 7));
    ASSERT_EQ(::shutdown(ended.ref().number(), SHUT_WR), 0);
    run();
    run();
    EXPECT_TRUE(connected_.empty());
    EXPECT_TRUE(is_closed(ended));
}

TEST_F(StreamServerTest, TheLimitOfNamelessConnectionsHoldsAndOneMoreIsClosed) {
    std::vector<Fd> waiting;
    while (waiting.size() < StreamServer::kNamelessMax) {
        waiting.push_back(connect());
    }
    const Fd beyond = connect();
    EXPECT_TRUE(is_closed(beyond));
    EXPECT_FALSE(is_closed(waiting.front()));
    EXPECT_FALSE(is_closed(waiting.back()));
    // The last of them is served, and then there is room again.
    say(waiting.back(), bytes_of(expect()));
    run();
    EXPECT_EQ(connected_.size(), 1U);
    EXPECT_FALSE(is_closed(connect()));
}

}  // namespace
}  // namespace pepita::runtime::guest
