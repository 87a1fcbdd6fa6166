#include "runtime/task_events.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/epoll.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/api/events.pb.h"
#include "runtime/rpc/channel.h"

namespace pepita::runtime {
namespace {

namespace pb = ::pepita::events::v1;
using Kind = TaskEvent::Kind;

pb::Envelope envelope_of(const std::string& payload) {
    pb::ForwardRequest request;
    EXPECT_TRUE(request.ParseFromString(payload));
    return request.envelope();
}

TaskEvent event(Kind kind, const std::string& exec = "") {
    TaskEvent made{.kind = kind, .process = {.container = "web", .exec = exec}, .task = {}};
    made.task.bundle = "/b";
    made.task.pid = 77;
    made.task.exit_status = 3;
    made.task.exited_at_ns = 1'000'000'002;
    return made;
}

TEST(TaskEvents, AnExitNamesItsProcessAndTime) {
    const ForwardedEvent told = forwarded(event(Kind::Exit), "k8s.io", 5'000'000'006);
    const pb::Envelope envelope = envelope_of(told.payload);
    EXPECT_EQ(envelope.namespace_(), "k8s.io");
    EXPECT_EQ(envelope.timestamp().seconds(), 5);
    EXPECT_EQ(envelope.timestamp().nanos(), 6);
    EXPECT_EQ(envelope.topic(), "/tasks/exit");
    EXPECT_EQ(envelope.event().type_url(), "containerd.events.TaskExit");
    pb::TaskExit exit;
    ASSERT_TRUE(exit.ParseFromString(envelope.event().value()));
    EXPECT_EQ(exit.container_id(), "web");
    EXPECT_EQ(exit.id(), "web");
    EXPECT_EQ(exit.pid(), 77U);
    EXPECT_EQ(exit.exit_status(), 3U);
    EXPECT_EQ(exit.exited_at().nanos(), 2);
}

TEST(TaskEvents, EachHasItsTopicAndType) {
    const auto words = [](const TaskEvent& event) {
        const pb::Envelope envelope = envelope_of(forwarded(event, "", 0).payload);
        return envelope.topic() + " " + envelope.event().type_url();
    };
    EXPECT_EQ(words(event(Kind::Create)), "/tasks/create containerd.events.TaskCreate");
    EXPECT_EQ(words(event(Kind::Create, "x")), "/tasks/exec-added containerd.events.TaskExecAdded");
    EXPECT_EQ(words(event(Kind::Start)), "/tasks/start containerd.events.TaskStart");
    EXPECT_EQ(words(event(Kind::Start, "x")),
              "/tasks/exec-started containerd.events.TaskExecStarted");
    EXPECT_EQ(words(event(Kind::Oom)), "/tasks/oom containerd.events.TaskOOM");
    EXPECT_EQ(words(event(Kind::Delete)), "/tasks/delete containerd.events.TaskDelete");
    EXPECT_EQ(words(event(Kind::Paused)), "/tasks/paused containerd.events.TaskPaused");
    EXPECT_EQ(words(event(Kind::Resumed)), "/tasks/resumed containerd.events.TaskResumed");
}

// The test plays containerd.
class EventPublisherTest : public testing::Test {
protected:
    void SetUp() override { ASSERT_NE(::mkdtemp(scratch_.data()), nullptr); }
    void TearDown() override { std::filesystem::remove_all(scratch_); }

    std::string address() const { return scratch_ + "/events.sock"; }
    void listen() {
        listener_ = *listen_unix(address(), 0600);
        watch_ = *loop_->watch(listener_.ref(), EPOLLIN, [this](std::uint32_t) {
            auto client = accept_client(listener_.ref());
            if (!client) {
                return;
            }
            channels_.push_back(*Channel::create(
                *loop_, *std::move(client),
                {.on_call =
                     [this](Channel::Call call) {
                         topics_.push_back(envelope_of(call.payload).topic());
                         if (refusals_ > 0) {
                             --refusals_;
                             return call.responder.respond(Error(Code::Unavailable, "busy"));
                         }
                         call.responder.respond(std::string());
                     },
                 .on_closed = {}}));
        });
    }
    void turn_until_idle(const EventPublisher& publisher) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!publisher.is_idle() && std::chrono::steady_clock::now() < end) {
            ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(50)).has_value());
        }
        EXPECT_TRUE(publisher.is_idle());
    }

    std::string scratch_ = "/tmp/pepita-events-XXXXXX";
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Fd listener_;
    EventLoop::Watch watch_;
    std::vector<std::shared_ptr<Channel>> channels_;
    std::vector<std::string> topics_;
    int refusals_ = 0;
};

TEST_F(EventPublisherTest, TellsInTheOrderOfTheEvents) {
    listen();
    EventPublisher publisher(*loop_, {.address = "unix://" + address(), .name_space = "k8s.io"});
    publisher.publish(event(Kind::Create));
    publisher.publish(event(Kind::Start));
    publisher.publish(event(Kind::Exit));
    EXPECT_FALSE(publisher.is_idle());
    turn_until_idle(publisher);
    EXPECT_EQ(topics_, (std::vector<std::string>{"/tasks/create", "/tasks/start", "/tasks/exit"}));
    EXPECT_EQ(channels_.size(), 1U);
}

TEST_F(EventPublisherTest, WhatIsRefusedIsToldAgain) {
    listen();
    refusals_ = 2;
    EventPublisher publisher(*loop_, {.address = address(), .name_space = ""});
    publisher.publish(event(Kind::Create));
    turn_until_idle(publisher);
    EXPECT_EQ(topics_.size(), 3U);
}

TEST_F(EventPublisherTest, WhatNobodyHearsIsDroppedAndTheNextIsTold) {
    listen();
    refusals_ = EventPublisher::kAttemptsMax;
    EventPublisher publisher(*loop_, {.address = address(), .name_space = ""});
    publisher.publish(event(Kind::Create));
    publisher.publish(event(Kind::Start));
    turn_until_idle(publisher);
    EXPECT_EQ(topics_.back(), "/tasks/start");
    EXPECT_EQ(topics_.size(), std::size_t{EventPublisher::kAttemptsMax} + 1);
}

TEST_F(EventPublisherTest, WithoutAnAddressNobodyIsTold) {
    EventPublisher publisher(*loop_, {.address = "", .name_space = ""});
    publisher.publish(event(Kind::Create));
    EXPECT_TRUE(publisher.is_idle());
}

TEST_F(EventPublisherTest, OneThatNobodyAnswersHoldsABoundedNumber) {
    EventPublisher publisher(*loop_, {.address = address(), .name_space = ""});
    for (std::size_t i = 0; i < EventPublisher::kWaitingMax + 5; ++i) {
        publisher.publish(event(Kind::Create));
    }
    EXPECT_FALSE(publisher.is_idle());
}

}  // namespace
}  // namespace pepita::runtime
