#include "runtime/guest/errand.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {
namespace {

class ErrandsTest : public testing::Test {
protected:
    ~ErrandsTest() override {
        while (::waitpid(-1, nullptr, 0) > 0) {}
    }

    Result<void> wait_for(std::optional<Result<void>>& got) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!got && std::chrono::steady_clock::now() < deadline) {
            EXPECT_TRUE(loop_->run_once(std::chrono::seconds(1)).has_value());
        }
        if (!got) {
            return Error(Code::DeadlineExceeded, "no answer");
        }
        return *std::move(got);
    }
    Result<void> run(Errands::Work work, std::chrono::seconds limit = std::chrono::seconds(20)) {
        std::optional<Result<void>> got;
        errands_.run(std::move(work), limit,
                     [&got](Result<void> result) { got.emplace(std::move(result)); });
        return wait_for(got);
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Errands errands_{*loop_};
};

TEST_F(ErrandsTest, WhatSucceedsAndWhatFailsIsAnswered) {
    EXPECT_TRUE(run([] { return Result<void>(); }).has_value());
    const auto failed =
        run([]() -> Result<void> { return Error(Code::NotFound, "no such device"); });
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().code(), Code::NotFound);
    EXPECT_EQ(failed.error().message(), "no such device");
}

TEST_F(ErrandsTest, AChildThatIsKilledIsAnError) {
    const auto killed = run([]() -> Result<void> {
        (void)::raise(SIGKILL);
        return {};
    });
    ASSERT_FALSE(killed.has_value());
    EXPECT_EQ(killed.error().code(), Code::Internal);
}

TEST_F(ErrandsTest, WorkThatBlocksHoldsUpNothingAndIsKilledAtItsDeadline) {
    std::optional<Result<void>> slow;
    errands_.run(
        []() -> Result<void> {
            while (true) {
                (void)::pause();
            }
        },
        std::chrono::seconds(1), [&slow](Result<void> result) { slow.emplace(std::move(result)); });
    EXPECT_TRUE(run([] { return Result<void>(); }).has_value());
    EXPECT_FALSE(slow.has_value());
    const auto late = wait_for(slow);
    ASSERT_FALSE(late.has_value());
    EXPECT_EQ(late.error().code(), Code::DeadlineExceeded);
}

TEST_F(ErrandsTest, AChildHasNoDescriptorOfItsParent) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), 0), 0);
    const auto closed = run([ends]() -> Result<void> {
        return ::fcntl(ends[1], F_GETFD) == -1 ? Result<void>() : Error(Code::Internal, "open");
    });
    EXPECT_TRUE(closed.has_value());
    EXPECT_EQ(::close(ends[0]), 0);
    EXPECT_EQ(::close(ends[1]), 0);
}

}  // namespace
}  // namespace pepita::runtime::guest
