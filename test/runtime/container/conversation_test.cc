#include "runtime/container/conversation.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/control.h"

namespace pepita::runtime::container {
namespace {

using Kind = ControlMessage::Kind;

class ConversationTest : public testing::Test {
protected:
    void expect() {
        ASSERT_TRUE(conversation_
                        ->expect([this](Result<ControlMessage> message) {
                            got_.emplace(std::move(message));
                        })
                        .has_value());
    }
    void turn() { ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(100)).has_value()); }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    ControlPair pair_ = *control_pair();
    std::unique_ptr<Conversation> conversation_ =
        std::make_unique<Conversation>(*loop_, std::move(pair_.parent));
    std::optional<Result<ControlMessage>> got_;
};

TEST_F(ConversationTest, EachExpectationGetsOneMessage) {
    ASSERT_TRUE(send_control(pair_.child.ref(), {.kind = Kind::Ready}).has_value());
    ASSERT_TRUE(
        send_control(pair_.child.ref(), {.kind = Kind::ExecFailed, .value = 2}).has_value());
    expect();
    EXPECT_FALSE(got_.has_value()) << "only the loop calls";
    turn();
    ASSERT_TRUE(got_.has_value() && got_->has_value());
    EXPECT_EQ((*got_)->kind, Kind::Ready);
    got_.reset();
    turn();
    EXPECT_FALSE(got_.has_value()) << "nobody expects it yet";
    expect();
    turn();
    EXPECT_EQ((*got_)->value, 2U);
}

TEST_F(ConversationTest, AClosedEndIsAMessage) {
    expect();
    pair_.child = Fd();
    turn();
    EXPECT_EQ((*got_)->kind, Kind::Closed);
}

TEST_F(ConversationTest, OnceClosedNothingIsCalledAndTheChildSeesTheEnd) {
    expect();
    conversation_->close();
    EXPECT_FALSE(conversation_->is_open());
    EXPECT_EQ(receive_control(pair_.child.ref())->kind, Kind::Closed);
    turn();
    EXPECT_FALSE(got_.has_value());
}

TEST_F(ConversationTest, TheCallMayDestroyIt) {
    bool is_called = false;
    ASSERT_TRUE(conversation_
                    ->expect([&](const Result<ControlMessage>& /*message*/) {
                        is_called = true;
                        conversation_.reset();
                    })
                    .has_value());
    pair_.child = Fd();
    turn();
    EXPECT_TRUE(is_called);
}

TEST_F(ConversationTest, WhatIsSentArrives) {
    ASSERT_TRUE(conversation_->send({.kind = Kind::Start}).has_value());
    EXPECT_EQ(receive_control(pair_.child.ref())->kind, Kind::Start);
}

}  // namespace
}  // namespace pepita::runtime::container
