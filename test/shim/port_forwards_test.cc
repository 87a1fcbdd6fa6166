#include "shim/port_forwards.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "test/support/fake_microvm.h"

namespace pepita::shim {
namespace {

// The test plays the client and the guest.
class PortForwardsTest : public testing::Test {
protected:
    void SetUp() override {
        (void)::signal(SIGPIPE, SIG_IGN);
        auto [ours, theirs] = *socket_pair();
        machine_.connected.in = std::move(ours);
        guest_ = std::move(theirs);
    }
    // The client's end, or why there is none.
    Result<Fd> connect() {
        auto [client, theirs] = *socket_pair();
        TRY(connect_to(std::move(theirs)));
        return std::move(client);
    }
    Result<void> connect_to(Fd socket) {
        std::optional<Result<void>> answer;
        forwards_->connect(microvm_, 8080, std::move(socket),
                           [&](Result<void> done) { answer.emplace(std::move(done)); });
        until([&] { return answer.has_value(); });
        return *std::move(answer);
    }
    void until(const std::function<bool()>& claim) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        bool holds = claim();
        while (!holds && std::chrono::steady_clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(10)).has_value());
            holds = claim();
        }
        ASSERT_TRUE(holds);
    }
    void expect(const Fd& fd, const std::string& text) {
        until([&] {
            std::array<char, 64> got{};
            return ::recv(fd.ref().number(), got.data(), got.size(), MSG_DONTWAIT) ==
                       static_cast<ssize_t>(text.size()) &&
                   std::string(got.data(), text.size()) == text;
        });
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    test::FakeMachine machine_{*loop_};
    test::FakeMicrovm microvm_{machine_};
    Fd guest_;
    std::shared_ptr<PortForwards> forwards_ = std::make_shared<PortForwards>(*loop_);
};

TEST_F(PortForwardsTest, AClientIsJoinedWithThePort) {
    const auto client = connect();
    ASSERT_TRUE(client.has_value());
    EXPECT_EQ(machine_.guest.dialed, 8080);
    EXPECT_EQ(machine_.connected_numbers.in, test::FakeGuest::kDialed);
    ASSERT_EQ(::send(client->ref().number(), "question", 8, MSG_NOSIGNAL), 8);
    expect(guest_, "question");
    ASSERT_EQ(::send(guest_.ref().number(), "answer", 6, MSG_NOSIGNAL), 6);
    expect(*client, "answer");
}

TEST_F(PortForwardsTest, ARefusalOfTheGuestComesBack) {
    machine_.guest.dial_error = "port 8080: connect: Connection refused (ECONNREFUSED)";
    EXPECT_EQ(connect().error().message(), machine_.guest.dial_error);
}

TEST_F(PortForwardsTest, AStreamThatCannotBeConnectedIsTheReason) {
    machine_.stream_error = "no answer in time";
    EXPECT_EQ(connect().error().message(), "no answer in time");
}

TEST_F(PortForwardsTest, WhatIsNoStreamSocketIsRefused) {
    EXPECT_EQ(connect_to(*open_file("/dev/null", O_RDWR)).error().code(), Code::InvalidArgument);
    auto [one, other] = *message_socket_pair();
    EXPECT_EQ(connect_to(std::move(one)).error().message(),
              "what came with the request is no stream socket");
}

TEST_F(PortForwardsTest, AnAnswerThatComesTooLateIsNoCrash) {
    auto [client, theirs] = *socket_pair();
    std::optional<Result<void>> answer;
    forwards_->connect(microvm_, 8080, std::move(theirs),
                       [&](Result<void> done) { answer.emplace(std::move(done)); });
    forwards_.reset();
    until([&] { return answer.has_value(); });
    EXPECT_EQ(answer->error().message(), "the pod ended");
}

}  // namespace
}  // namespace pepita::shim
