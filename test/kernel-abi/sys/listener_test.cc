#include "kernel-abi/sys/listener.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class ListenerTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
        listener_ = *Listener::create(*loop_, *listen_unix(path()),
                                      [this](Fd client) { clients_.push_back(std::move(client)); },
                                      {.accept = nullptr, .on_pause = [this](const Error& why) {
                                           ++pauses_;
                                           EXPECT_EQ(why.sys_errno(), EMFILE);
                                       }});
    }
    void TearDown() override {
        (void)::unlink(path().c_str());
        (void)::rmdir(directory_.c_str());
    }
    std::string path() const { return directory_ + "/socket"; }
    /// Turns the loop for as long as something happens.
    void settle() {
        for (int round = 0; round < 10; ++round) {
            ASSERT_TRUE(loop_->run_once(milliseconds(0)).has_value());
        }
    }

    std::string directory_ = "/tmp/pepita-listener-XXXXXX";
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::vector<Fd> clients_;
    int pauses_ = 0;
    std::unique_ptr<Listener> listener_;
};

TEST_F(ListenerTest, AcceptsEachClient) {
    const Fd first = *connect_unix(path());
    const Fd second = *connect_unix(path());
    settle();
    EXPECT_EQ(clients_.size(), 2U);
}

TEST_F(ListenerTest, R33_PausesAtTheDescriptorLimitAndGoesOnAfterIt) {
    const Fd waiting = *connect_unix(path());
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    // Every number below the limit is taken.
    const rlimit low{.rlim_cur = static_cast<rlim_t>(waiting.ref().number()) + 1,
                     .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    settle();
    EXPECT_TRUE(clients_.empty());
    EXPECT_EQ(pauses_, 1) << "a listener that spins tries in each round";
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    const auto deadline = steady_clock::now() + std::chrono::seconds(20);
    while (clients_.empty() && steady_clock::now() < deadline) {
        ASSERT_TRUE(loop_->run_once(milliseconds(100)).has_value());
    }
    EXPECT_EQ(clients_.size(), 1U);
}

TEST_F(ListenerTest, SuspendedItLeavesClientsInTheBacklog) {
    listener_->suspend();
    const Fd waiting = *connect_unix(path());
    settle();
    EXPECT_TRUE(clients_.empty());
    listener_->resume();
    settle();
    EXPECT_EQ(clients_.size(), 1U);
}

TEST_F(ListenerTest, AClientMayEndIt) {
    listener_ = *Listener::create(*loop_, *listen_unix(directory_ + "/other"),
                                  [this](Fd /*client*/) { listener_.reset(); });
    const Fd client = *connect_unix(directory_ + "/other");
    settle();
    EXPECT_EQ(listener_, nullptr);
    EXPECT_EQ(::unlink((directory_ + "/other").c_str()), 0);
}

}  // namespace
}  // namespace pepita
