#include "runtime/guest/reaper.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/process.h"

namespace pepita::runtime::guest {
namespace {

class ReaperTest : public testing::Test {
protected:
    void wait_for(std::size_t count) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (exits_.size() < count && std::chrono::steady_clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(std::chrono::seconds(1)).has_value());
        }
        ASSERT_EQ(exits_.size(), count);
    }

    static pid_t child_that(void (*end)()) {
        const pid_t pid = ::fork();
        if (pid == 0) {
            end();
            ::_exit(99);
        }
        return pid;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::map<pid_t, ChildExit> exits_;
    std::unique_ptr<Reaper> reaper_ = *Reaper::create(
        *loop_, [this](pid_t pid, const ChildExit& exit) { exits_.emplace(pid, exit); });
};

TEST_F(ReaperTest, TellsHowEachChildEnded) {
    const pid_t exiting = child_that([] { ::_exit(3); });
    const pid_t killed = child_that([] { (void)::raise(SIGKILL); });
    wait_for(2);
    EXPECT_EQ(exits_[exiting], (ChildExit{.by_signal = false, .value = 3}));
    EXPECT_EQ(exits_[killed], (ChildExit{.by_signal = true, .value = SIGKILL}));
}

TEST_F(ReaperTest, OneSignalMayStandForManyChildren) {
    for (int i = 0; i < 20; ++i) {  // before the loop looks: their signals become one
        (void)child_that([] { ::_exit(0); });
    }
    wait_for(20);
}

TEST_F(ReaperTest, AChildThatSomebodyElseReapedIsPassedOver) {
    const pid_t mine = child_that([] { ::_exit(0); });
    ASSERT_EQ(::waitpid(mine, nullptr, 0), mine);
    const pid_t other = child_that([] { ::_exit(7); });
    wait_for(1);
    EXPECT_EQ(exits_[other].value, 7);
}

}  // namespace
}  // namespace pepita::runtime::guest
