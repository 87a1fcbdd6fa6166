#include "shim/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/guest_api.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/microvm.h"
#include "test/support/fake_microvm.h"

namespace pepita::shim {
namespace {

using runtime::TaskStatus;

// The test plays the container, the machine and the guest.
class ProcessTest : public testing::Test {
protected:
    void SetUp() override {
        auto [ours, theirs] = *socket_pair();
        proxy_ = std::move(ours);
        runtime::TaskIo io;
        io.proxy = std::move(theirs);
        io.proxy_pid = 4711;
        process_ = *Process::create(
            *loop_, id_, std::move(io), {},
            {.on_stopped = [this] { ++stops_; },
             .on_event = [this](runtime::TaskEvent::Kind kind) { events_.push_back(kind); },
             .on_resize = [](runtime::WindowSize /*size*/) {},
             .on_signal = [this](std::uint32_t signal) { signals_.push_back(signal); }});
        microvm_ = std::make_unique<test::FakeMicrovm>(machine_);
        machine_.guest.processes[id_];
    }
    void TearDown() override {
        microvm_.reset();
        settle();
    }
    void settle() {
        for (int round = 0; round < 30; ++round) {
            ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(0)).has_value());
        }
    }
    void attach_and_start() {
        process_->attach(*microvm_, {},
                         [](const Result<void>& done) { EXPECT_TRUE(done.has_value()); });
        process_->start(*microvm_, [](const Result<runtime::TaskStarted>& started) {
            EXPECT_EQ(started.value().pid, 4711U);
        });
        settle();
    }
    std::uint32_t status_of_stand_in() const {
        std::uint32_t status = 0;
        EXPECT_EQ(::read(proxy_.ref().number(), &status, sizeof(status)),
                  static_cast<ssize_t>(sizeof(status)));
        return status;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    test::FakeMachine machine_{*loop_};
    std::unique_ptr<Microvm> microvm_;
    runtime::ProcessId id_{.container = "web", .exec = "x"};
    Fd proxy_;
    std::shared_ptr<Process> process_;
    int stops_ = 0;
    std::vector<runtime::TaskEvent::Kind> events_;
    std::vector<std::uint32_t> signals_;
};

TEST_F(ProcessTest, IsCreatedRunsAndStops) {
    EXPECT_EQ(process_->status(), TaskStatus::Created);
    attach_and_start();
    EXPECT_EQ(process_->status(), TaskStatus::Running);
    machine_.guest.exit(id_, 42);
    settle();
    EXPECT_EQ(process_->status(), TaskStatus::Stopped);
    EXPECT_EQ(process_->exit_status(), 42U);
    EXPECT_EQ(status_of_stand_in(), 42U);
    EXPECT_EQ(stops_, 1);
}

TEST_F(ProcessTest, AnExitThatOvertakesTheStartIsToldAfterIt) {
    using Kind = runtime::TaskEvent::Kind;
    process_->attach(*microvm_, {},
                     [](const Result<void>& done) { EXPECT_TRUE(done.has_value()); });
    settle();
    machine_.guest.holds_start = true;
    process_->start(*microvm_, [](const Result<runtime::TaskStarted>& started) {
        EXPECT_EQ(started.value().exec_errno, 0U);
    });
    settle();
    machine_.guest.exit(id_, 0);
    settle();
    EXPECT_EQ(process_->status(), TaskStatus::Stopped);
    EXPECT_TRUE(events_.empty());
    machine_.guest.answer_starts();
    settle();
    EXPECT_EQ(events_, (std::vector{Kind::Start, Kind::Exit}));
    EXPECT_EQ(process_->status(), TaskStatus::Stopped);
}

TEST_F(ProcessTest, OneThatWasNeverStartedOnlyExits) {
    process_->attach(*microvm_, {},
                     [](const Result<void>& done) { EXPECT_TRUE(done.has_value()); });
    settle();
    machine_.guest.exit(id_, 137);
    settle();
    EXPECT_EQ(events_, std::vector{runtime::TaskEvent::Kind::Exit});
}

TEST_F(ProcessTest, IsStartedOnce) {
    attach_and_start();
    std::optional<Code> code;
    process_->start(*microvm_, [&](const Result<runtime::TaskStarted>& started) {
        code = started.error().code();
    });
    EXPECT_EQ(code, Code::FailedPrecondition);
}

TEST_F(ProcessTest, EachWaiterIsAnsweredOnce) {
    int answers = 0;
    for (int i = 0; i < 3; ++i) {
        process_->wait([&](const Result<runtime::TaskExit>& exit) {
            ++answers;
            EXPECT_EQ(exit.value().exit_status, 1U);
        });
    }
    attach_and_start();
    EXPECT_EQ(answers, 0);
    machine_.guest.exit(id_, 1);
    settle();
    EXPECT_EQ(answers, 3);
    process_->wait([&](const Result<runtime::TaskExit>& /*exit*/) { ++answers; });
    EXPECT_EQ(answers, 4) << "one that comes later is answered at once";
}

TEST_F(ProcessTest, R3_ItsStandInsDeathIsSigkill) {
    { const Fd dies = std::move(proxy_); }
    settle();
    EXPECT_EQ(signals_, std::vector<std::uint32_t>{9});
}

TEST_F(ProcessTest, AMicrovmThatEndsStopsItOnce) {
    attach_and_start();
    process_->lose("it was killed");
    process_->lose("again");
    EXPECT_EQ(process_->exit_status(), 255U);
    EXPECT_EQ(status_of_stand_in(), 255U);
    EXPECT_EQ(stops_, 1);
}

TEST_F(ProcessTest, AnswersThatComeAfterItsDeletionTouchNothing) {
    std::optional<bool> was_started;
    process_->attach(*microvm_, {}, [](const Result<void>& /*done*/) {});
    process_->start(*microvm_, [&](const Result<runtime::TaskStarted>& started) {
        was_started = started.has_value();
    });
    process_.reset();
    settle();
    machine_.guest.exit(id_, 0);
    settle();
    EXPECT_EQ(was_started, true);
    EXPECT_EQ(stops_, 0);
}

}  // namespace
}  // namespace pepita::shim
