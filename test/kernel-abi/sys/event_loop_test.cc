#include "kernel-abi/sys/event_loop.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"

namespace pepita {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class EventLoopTest : public testing::Test {
protected:
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
};

TEST_F(EventLoopTest, CallsWhatIsReadyAndStops) {
    auto [a, b] = *socket_pair();
    int calls = 0;
    const auto watch = loop_->watch(a.ref(), EPOLLIN, [&](std::uint32_t events) {
        EXPECT_NE(events & EPOLLIN, 0U);
        ++calls;
        loop_->stop();
    });
    ASSERT_TRUE(watch.has_value());
    ASSERT_TRUE(send_some(b.ref(), std::vector<std::byte>(1)).has_value());
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, ACallbackMayEndItsOwnWatch) {
    auto [a, b] = *socket_pair();
    EventLoop::Watch watch;
    const std::vector<int> kept(100, 7);
    int sum = 0;
    watch = *loop_->watch(a.ref(), EPOLLOUT, [&, kept](std::uint32_t) {
        watch.cancel();
        for (const int value : kept) {  // the capture must still be alive here
            sum += value;
        }
        loop_->stop();
    });
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(sum, 700);
}

TEST_F(EventLoopTest, TimersFireInOrderOfTheirDeadlines) {
    std::vector<int> order;
    const auto late = loop_->after(milliseconds(20), [&] {
        order.push_back(2);
        loop_->stop();
    });
    const auto soon = loop_->after(milliseconds(1), [&] { order.push_back(1); });
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(EventLoopTest, ACancelledTimerDoesNotFire) {
    bool fired = false;
    auto timer = loop_->after(milliseconds(1), [&] { fired = true; });
    timer.cancel();
    const auto end = loop_->after(milliseconds(10), [&] { loop_->stop(); });
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_FALSE(fired);
}

TEST_F(EventLoopTest, AnotherThreadsPostWakesIt) {
    pthread_t thread{};
    const auto post = [](void* argument) -> void* {
        auto* loop = static_cast<EventLoop*>(argument);
        loop->post([loop] { loop->stop(); });
        return nullptr;
    };
    ASSERT_EQ(::pthread_create(&thread, nullptr, post, loop_.get()), 0);
    ASSERT_TRUE(loop_->run().has_value());
    ASSERT_EQ(::pthread_join(thread, nullptr), 0);
}

bool is_readable(FdRef fd) {
    pollfd one{.fd = fd.number(), .events = POLLIN, .revents = 0};
    return ::poll(&one, 1, 0) == 1;
}

TEST_F(EventLoopTest, AnotherWaitCanTellWhenItsTurnIs) {
    EXPECT_FALSE(is_readable(loop_->fd()));
    EXPECT_EQ(loop_->until_deadline(), std::nullopt);
    bool is_done = false;
    loop_->post([&] { is_done = true; });
    EXPECT_TRUE(is_readable(loop_->fd()));
    ASSERT_TRUE(loop_->run_once(milliseconds(0)).has_value());
    EXPECT_TRUE(is_done);
    EXPECT_FALSE(is_readable(loop_->fd()));
    const auto later = loop_->after(std::chrono::hours(1), [] {});
    EXPECT_GT(loop_->until_deadline(), std::chrono::minutes(59));
    const auto now = loop_->after(milliseconds(0), [] {});
    EXPECT_EQ(loop_->until_deadline(), EventLoop::Clock::duration::zero());
}

TEST_F(EventLoopTest, StopBeforeRunIsNotLost) {
    loop_->stop();
    EXPECT_TRUE(loop_->run().has_value());
}

}  // namespace
}  // namespace pepita
