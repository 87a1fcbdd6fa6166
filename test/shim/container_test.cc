#include "shim/container.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/guest_api.h"
#include "runtime/task_api.h"
#include "shim/microvm.h"
#include "test/support/fake_microvm.h"

namespace pepita::shim {
namespace {

using runtime::TaskStatus;

// The test plays the pod, the machine and the guest.
class ContainerTest : public testing::Test {
protected:
    void SetUp() override {
        runtime::Bundle bundle;
        bundle.container.id = "web";
        bundle.container.process.args = {"sh"};
        container_ = *Container::create(
            *loop_, std::move(bundle), {},
            {.on_change = [this] { ++changes_; },
             .on_signal = [](const runtime::ProcessId& /*id*/, std::uint32_t /*signal*/) {},
             .on_event =
                 [this](const runtime::TaskEvent& event) { events_.push_back(event.kind); }});
        microvm_ = std::make_unique<test::FakeMicrovm>(machine_);
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
    /// The answer to a request, or nullopt while there is none.
    template <typename T, typename Ask>
    std::shared_ptr<std::optional<Result<T>>> ask(Ask request) {
        auto answer = std::make_shared<std::optional<Result<T>>>();
        request(runtime::OnResult<T>(
            [answer](Result<T> result) { answer->emplace(std::move(result)); }));
        settle();
        return answer;
    }
    auto enter() {
        return ask<void>([&](auto done) {
            container_->enter(*microvm_, {.root_serial = "r", .scratch_serial = "s"},
                              std::move(done));
        });
    }
    auto exec(const std::string& id) {
        return ask<void>([&](auto done) {
            runtime::ProcessSpec process;
            process.args = {"sh"};
            container_->exec(
                {.id = {.container = "web", .exec = id}, .process = std::move(process), .io = {}},
                std::move(done));
        });
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::vector<runtime::TaskEvent::Kind> events_;
    test::FakeMachine machine_{*loop_};
    std::unique_ptr<Microvm> microvm_;
    std::shared_ptr<Container> container_;
    int changes_ = 0;
};

TEST_F(ContainerTest, EntersWithItsDisks) {
    EXPECT_TRUE(container_->is_creating());
    EXPECT_FALSE(container_->is_in_guest());
    EXPECT_TRUE(enter()->value().has_value());
    EXPECT_EQ(machine_.guest.specs.at("web").root.disk->serial, "r");
    EXPECT_EQ(machine_.guest.specs.at("web").root.scratch_disk.serial, "s");
    EXPECT_EQ(container_->status(), TaskStatus::Created);
}

TEST_F(ContainerTest, StaysCreatingWhereTheGuestRefuses) {
    machine_.guest.create_error = "no such program";
    EXPECT_EQ(enter()->value().error().message(), "no such program");
    EXPECT_TRUE(container_->is_creating());
    EXPECT_TRUE(container_->is_in_guest()) << "the guest may have a part of it";
}

TEST_F(ContainerTest, R18_ExecRunsInACreatedContainer) {
    (void)enter();
    EXPECT_TRUE(exec("x")->value().has_value());
}

TEST_F(ContainerTest, R23_AnExecWhoseStreamsFailLeavesNoProcess) {
    (void)enter();
    machine_.stream_error = "the other side closed the connection";
    EXPECT_EQ(exec("x")->value().error().message(), "the other side closed the connection");
    settle();
    EXPECT_EQ(machine_.guest.removed.back(), (runtime::ProcessId{.container = "web", .exec = "x"}));
    machine_.stream_error.reset();
    EXPECT_TRUE(exec("x")->value().has_value()) << "its name can be used again";
}

TEST_F(ContainerTest, HasAnEndOfRoomAndMakesSomeOfStoppedProcesses) {
    (void)enter();
    for (std::size_t i = 1; i < Container::kProcessesMax; ++i) {
        ASSERT_TRUE(exec("x" + std::to_string(i))->value().has_value());
    }
    EXPECT_EQ(exec("more")->value().error().code(), Code::ResourceExhausted);
    machine_.guest.exit({.container = "web", .exec = "x7"}, 0);
    settle();
    EXPECT_TRUE(exec("more")->value().has_value());
    EXPECT_EQ(container_->state("x7").error().code(), Code::NotFound);
}

TEST_F(ContainerTest, LosesAllItsProcessesWithTheMicrovm) {
    (void)enter();
    (void)exec("x");
    const auto exit =
        ask<runtime::TaskExit>([&](auto done) { container_->wait("x", std::move(done)); });
    container_->lose("it was killed");
    EXPECT_EQ(exit->value().error().message(), "the microVM ended: it was killed");
    EXPECT_EQ(container_->status(), TaskStatus::Stopped);
    EXPECT_EQ(container_->exit().exit_status, 255U);
    EXPECT_EQ(changes_, 1) << "of its own process";
    EXPECT_EQ(exec("y")->value().error().message(), "container not running");
    EXPECT_TRUE(
        ask<void>([&](auto done) { container_->leave(std::move(done)); })->value().has_value());
}

}  // namespace
}  // namespace pepita::shim
