#include "runtime/rpc/channel.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/ttrpc_codec.h"

namespace pepita::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ChannelTest : public testing::Test {
protected:
    void SetUp() override {
        auto [ours, theirs] = *socket_pair();
        client_ = *Channel::create(*loop_, std::move(ours), {});
        peer_ = std::move(theirs);
    }

    // Serves the other end with `on_call`.
    void serve(std::move_only_function<void(Channel::Call)> on_call) {
        server_ = *Channel::create(
            *loop_, std::move(peer_),
            {.on_call = std::move(on_call), .on_closed = [this](const Error& error) {
                 closed_ = error.message();
                 loop_->stop();
             }});
    }

    Result<std::string> call(std::string payload, const Channel::CallOptions& options = {}) {
        std::optional<Result<std::string>> reply;
        client_->call("test.Service", "Method", std::move(payload), options,
                      [&](Result<std::string> result) { reply.emplace(std::move(result)); });
        EXPECT_FALSE(reply.has_value()) << "answered in the call";
        const auto deadline = std::chrono::steady_clock::now() + seconds(20);
        while (!reply && std::chrono::steady_clock::now() < deadline) {
            EXPECT_TRUE(loop_->run_once(milliseconds(100)).has_value());
        }
        return std::move(reply).value();
    }

    void say(const std::string& bytes) {
        ASSERT_EQ(send_some(peer_.ref(), std::as_bytes(std::span(bytes))).value_or(0),
                  bytes.size());
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::shared_ptr<Channel> client_;
    std::shared_ptr<Channel> server_;
    Fd peer_;
    std::optional<std::string> closed_;
};

TEST_F(ChannelTest, CarriesACallAndItsAnswer) {
    serve([](Channel::Call call) {
        EXPECT_EQ(call.service, "test.Service");
        EXPECT_EQ(call.method, "Method");
        call.responder.respond("<" + call.payload + ">");
    });
    EXPECT_EQ(call("question").value(), "<question>");
    EXPECT_EQ(call("").value(), "<>");
}

TEST_F(ChannelTest, BothSidesCallAtOnceWithTheSameNumbers) {
    auto [a, b] = *socket_pair();
    const auto echo = [](Channel::Call call) { call.responder.respond(call.payload + "!"); };
    const auto left = *Channel::create(*loop_, std::move(a), {.on_call = echo, .on_closed = {}});
    const auto right = *Channel::create(*loop_, std::move(b), {.on_call = echo, .on_closed = {}});
    std::vector<std::string> answers;
    left->call("s", "m", "left", {}, [&](const auto& got) { answers.push_back(got.value()); });
    right->call("s", "m", "right", {}, [&](const auto& got) { answers.push_back(got.value()); });
    while (answers.size() < 2) {
        ASSERT_TRUE(loop_->run_once(seconds(20)).has_value());
    }
    EXPECT_THAT(answers, testing::UnorderedElementsAre("left!", "right!"));
}

TEST_F(ChannelTest, AnErrorKeepsItsCodeAndWords) {
    serve([](Channel::Call call) {
        call.responder.respond(Error(Code::NotFound, "container 'x' does not exist"));
    });
    const auto reply = call("");
    EXPECT_EQ(reply.error().code(), Code::NotFound);
    EXPECT_EQ(reply.error().message(), "container 'x' does not exist");
}

TEST_F(ChannelTest, R28_WordsThatAreNoUtf8AreShownInTheAnswer) {
    testing::internal::CaptureStderr();
    serve([](Channel::Call call) {
        call.responder.respond(Error(Code::NotFound, "'/srv/b\xff' does not exist"));
    });
    const auto reply = call("");
    EXPECT_EQ(reply.error().code(), Code::NotFound);
    EXPECT_EQ(reply.error().message(), "'/srv/b\\xff' does not exist");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(ChannelTest, ADroppedCallIsAnswered) {
    serve([](const Channel::Call&) {});
    EXPECT_EQ(call("").error().code(), Code::Internal);
}

TEST_F(ChannelTest, DescriptorsArriveWithTheirOwnCall) {
    const Fd zero = *open_file("/dev/zero", O_RDONLY);
    serve([](Channel::Call call) {
        std::string names;
        for (const Fd& fd : call.fds) {
            std::array<char, 64> name{};
            const std::string link = "/proc/self/fd/" + std::to_string(fd.ref().number());
            EXPECT_GT(::readlink(link.c_str(), name.data(), name.size()), 0);
            names += std::string(name.data()) + " ";
        }
        call.responder.respond(names);
    });
    const std::array<FdRef, 2> fds{zero.ref(), zero.ref()};
    // The first call without, to see that none stray to it.
    client_->call("s", "m", "", {}, [](const auto& got) { EXPECT_EQ(got.value(), ""); });
    EXPECT_EQ(call("", {.deadline = {}, .fds = fds}).value(), "/dev/zero /dev/zero ");
}

TEST_F(ChannelTest, SilenceEndsAtTheDeadline) {
    EXPECT_EQ(call("", {.deadline = milliseconds(5), .fds = {}}).error().code(),
              Code::DeadlineExceeded);
}

TEST_F(ChannelTest, AnEndedConnectionAnswersOpenCalls) {
    peer_ = Fd();
    EXPECT_EQ(call("").error().code(), Code::Unavailable);
    EXPECT_EQ(call("").error().code(), Code::Unavailable);
}

TEST_F(ChannelTest, FourMebibytesPassAndOneByteMoreIsRefused) {
    serve([](Channel::Call call) { call.responder.respond(std::move(call.payload)); });
    // The rest of the message: tags, lengths and names.
    const std::size_t overhead = api::encode_request({.service = "test.Service",
                                                      .method = "Method",
                                                      .payload = std::string(api::kMessageMax, 'x'),
                                                      .timeout_ns = 0,
                                                      .fd_count = 0})
                                     .size() -
                                 api::kMessageMax;
    const std::string largest(api::kMessageMax - overhead, 'x');
    EXPECT_EQ(call(largest).value(), largest);
    EXPECT_EQ(call(largest + "x").error().code(), Code::ResourceExhausted);
    EXPECT_EQ(call("small").value(), "small");
}

TEST_F(ChannelTest, AFrameLongerThanAllowedEndsTheConnection) {
    std::string frame = api::encode_frame(1, api::MessageType::Response, "");
    frame[0] = 0x00;
    frame[1] = 0x40;  // 0x400000 is the limit
    frame[3] = 0x01;
    say(frame);
    EXPECT_EQ(call("").error().code(), Code::Unavailable);
}

TEST_F(ChannelTest, AnAnswerNobodyAskedForIsIgnored) {
    say(api::encode_frame(77, api::MessageType::Response, ""));
    ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    serve([](Channel::Call call) { call.responder.respond("fine"); });
    EXPECT_EQ(call("").value(), "fine");
}

TEST_F(ChannelTest, AFrameMayComeByteByByte) {
    const std::string frame =
        api::encode_frame(1, api::MessageType::Response, api::encode_response(std::string("slow")));
    std::optional<std::string> reply;
    client_->call("s", "m", "", {}, [&](const auto& got) { reply = got.value(); });
    for (const char byte : frame) {
        say(std::string(1, byte));
        ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    }
    EXPECT_EQ(reply, "slow");
}

TEST_F(ChannelTest, ACallThatNamesMoreDescriptorsThanCameEndsTheConnection) {
    auto [ours, theirs] = *socket_pair();
    peer_ = std::move(ours);
    serve([](const Channel::Call&) { ADD_FAILURE(); });
    const std::string frame = api::encode_frame(
        1, api::MessageType::Request,
        api::encode_request(
            {.service = "s", .method = "m", .payload = "", .timeout_ns = 0, .fd_count = 1}));
    ASSERT_TRUE(send_some(theirs.ref(), std::as_bytes(std::span(frame))).has_value());
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(closed_, "a call that names more descriptors than came");
}

TEST_F(ChannelTest, ACallerThatNeverReadsLosesItsConnection) {
    auto [ours, theirs] = *socket_pair();
    peer_ = std::move(ours);
    int calls = 0;
    serve([&](Channel::Call call) {
        ++calls;
        call.responder.respond(std::string(1U << 20U, 'x'));
    });
    std::string frames;
    for (std::uint32_t i = 0; i < 100; ++i) {
        frames += api::encode_frame(
            (2 * i) + 1, api::MessageType::Request,
            api::encode_request(
                {.service = "s", .method = "m", .payload = "", .timeout_ns = 0, .fd_count = 0}));
    }
    ASSERT_EQ(send_some(theirs.ref(), std::as_bytes(std::span(frames))).value_or(0), frames.size());
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(closed_, "the other side does not read");
    EXPECT_EQ(calls, 100);  // answers to what had come already are dropped, not kept
}

TEST_F(ChannelTest, DescriptorsThatNoCallNamesEndTheConnection) {
    auto [ours, theirs] = *socket_pair();
    peer_ = std::move(ours);
    serve([](const Channel::Call&) { ADD_FAILURE(); });
    const Fd null = *open_file("/dev/null", O_RDONLY);
    const std::vector<FdRef> fds(16, null.ref());
    const std::array<std::byte, 1> byte{};  // of a header that never ends
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(send_some(theirs.ref(), byte, fds).has_value());
        ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    }
    EXPECT_FALSE(closed_.has_value());  // 64 may wait
    ASSERT_TRUE(send_some(theirs.ref(), byte, std::span(fds).first(1)).has_value());
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(closed_, "more descriptors than calls could want");
}

TEST_F(ChannelTest, ACallOnAnEvenStreamEndsTheConnection) {
    auto [ours, theirs] = *socket_pair();
    peer_ = std::move(ours);
    serve([](const Channel::Call&) { ADD_FAILURE(); });
    const std::string frame = api::encode_frame(
        2, api::MessageType::Request,
        api::encode_request(
            {.service = "s", .method = "m", .payload = "", .timeout_ns = 0, .fd_count = 0}));
    ASSERT_TRUE(send_some(theirs.ref(), std::as_bytes(std::span(frame))).has_value());
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(closed_, "a call on an even stream");
}

TEST_F(ChannelTest, ARequestHasTtrpcsBytes) {
    client_->call("s", "m", "p", {.deadline = std::chrono::milliseconds(1), .fds = {}},
                  [](const auto&) {});
    std::array<std::byte, 64> bytes{};
    const auto received = receive_some(peer_.ref(), bytes);
    // length 13, stream 1, type 1, flags 0; then fields 1 to 3 as strings, and 4 as 1 000 000 ns.
    const std::string expected = std::string("\0\0\0\x0d\0\0\0\x01\x01\0", 10) +
                                 "\x0a\x01s\x12\x01m\x1a\x01p\x20\xc0\x84\x3d";
    ASSERT_EQ(received->size, expected.size());
    EXPECT_TRUE(std::ranges::equal(std::span(bytes).first(expected.size()),
                                   std::as_bytes(std::span(expected))));
}

}  // namespace
}  // namespace pepita::runtime
