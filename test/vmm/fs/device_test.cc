#include "vmm/fs/device.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "test/support/driver.h"
#include "test/support/fake_vhost_user_server.h"
#include "vmm/entropy/device.h"

namespace pepita::vmm {
namespace {

using test::Direction;

/// A server of another device, whose requests are simpler, on a thread of its own.
class Server {
public:
    explicit Server(Fd socket) {
        thread_ = *Thread::start("server", [this, socket = std::move(socket)]() mutable {
            Entropy entropy(*loop_);
            std::unique_ptr<virtio::VhostUserTransport> transport =
                *virtio::VhostUserTransport::create(*loop_, std::move(socket), entropy,
                                                    [this](const Error&) { loop_->stop(); });
            EXPECT_TRUE(loop_->run().has_value());
        });
    }

private:
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Thread thread_;
};

class FsTest : public testing::Test {
protected:
    std::unique_ptr<Fs> make(Fd socket, const std::string& tag = "pod") {
        auto made = Fs::create(*loop_, std::move(socket), lent_, tag);
        EXPECT_TRUE(made.has_value()) << made.error().message();
        return made ? *std::move(made) : nullptr;
    }
    void begin(Fs& fs) {
        fs.start(
            {.memory = ram_.memory(),
             .features = test::FakeVhostUserServer::kFeatures & ~abi::kVhostUserFProtocolFeatures,
             .notifier = notifier_});
    }
    void run_until(const auto& is_so) {
        while (!is_so()) {
            ASSERT_TRUE(loop_->run_once(std::chrono::seconds(10)).has_value());
        }
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    test::GuestRam ram_;
    LentMemory lent_ = test::lend(ram_);
    test::QueueDriver queue_{ram_};
    test::CountingNotifier notifier_;
};

TEST_F(FsTest, TheTagIsPaddedWithZeros) {
    test::FakeVhostUserServer server;
    server.greet();
    const auto fs = make(server.take_front_end());
    const std::span<const std::byte> config = fs->config();
    ASSERT_EQ(config.size(), 40U);
    EXPECT_EQ(config[2], std::byte{'d'});
    EXPECT_EQ(config[3], std::byte{0});
    EXPECT_EQ(config[36], std::byte{1});  // request queues
}

TEST_F(FsTest, ATagOfAllBytesHasNoZero) {
    test::FakeVhostUserServer server;
    server.greet();
    const auto fs = make(server.take_front_end(), std::string(36, 'x'));
    EXPECT_EQ(fs->config()[35], std::byte{'x'});
}

TEST_F(FsTest, AServerServesTheQueueAndCallsTheDriver) {
    auto [ours, theirs] = *socket_pair();
    const Server server(std::move(theirs));
    const auto fs = make(std::move(ours));
    begin(*fs);
    ASSERT_TRUE(fs->start_queue(0, queue_.setup()).has_value());
    const virtio::GuestAddress at = ram_.allocate(64);
    queue_.add({{.at = at, .length = 64, .direction = Direction::FromDevice}});
    fs->kick(0);
    run_until([this] { return notifier_.used[0] > 0; });
    EXPECT_EQ(queue_.collect()->length, 64U);
    EXPECT_EQ(fs->stop_queue(0), 1U);
}

TEST_F(FsTest, AQueueCanBeStartedAgainAfterAReset) {
    auto [ours, theirs] = *socket_pair();
    const Server server(std::move(theirs));
    const auto fs = make(std::move(ours));
    begin(*fs);
    ASSERT_TRUE(fs->start_queue(0, queue_.setup()).has_value());
    fs->reset();
    test::QueueDriver again(ram_);
    const virtio::GuestAddress at = ram_.allocate(64);
    again.add({{.at = at, .length = 64, .direction = Direction::FromDevice}});
    begin(*fs);
    ASSERT_TRUE(fs->start_queue(0, again.setup()).has_value());
    run_until([&again] { return again.used_idx() > 0; });
}

TEST_F(FsTest, TheDriverIsToldThatTheServerIsGone) {
    test::FakeVhostUserServer server;
    server.greet();
    const auto fs = make(server.take_front_end());
    begin(*fs);
    ASSERT_TRUE(fs->start_queue(1, queue_.setup()).has_value());
    server.hang_up();
    run_until([this] { return notifier_.broken[0] > 0; });
    fs->kick(1);
    EXPECT_EQ(fs->stop_queue(1), 0U);
    EXPECT_FALSE(fs->start_queue(0, queue_.setup()).has_value());
}

TEST_F(FsTest, WhatIsNoAnswerToAnythingEndsTheConnection) {
    test::FakeVhostUserServer server;
    server.greet();
    const auto fs = make(server.take_front_end());
    begin(*fs);
    server.greet();
    run_until([this] { return notifier_.broken[0] > 0; });
}

TEST_F(FsTest, QueuesThatItDoesNotHaveAreIgnored) {
    test::FakeVhostUserServer server;
    server.greet();
    const auto fs = make(server.take_front_end());
    begin(*fs);
    (void)server.hear();
    EXPECT_TRUE(fs->start_queue(2, queue_.setup()).has_value());
    fs->kick(2);
    EXPECT_EQ(fs->stop_queue(2), 0U);
    EXPECT_TRUE(server.hear().empty());
}

}  // namespace
}  // namespace pepita::vmm
