#include "vmm/entropy/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"

namespace pepita::vmm {
namespace {

using test::Direction;

class EntropyTest : public testing::Test {
protected:
    void SetUp() override {
        entropy_.start(
            {.memory = ram_.memory(), .features = test::kRingFeatures, .notifier = notifier_});
        EXPECT_TRUE(entropy_.start_queue(0, queue_.setup()).has_value());
    }
    std::uint32_t ask(virtio::GuestAddress at, std::uint32_t length) {
        queue_.add({{.at = at, .length = length, .direction = Direction::FromDevice}});
        entropy_.kick(0);
        const auto used = queue_.collect();
        EXPECT_TRUE(used.has_value());
        return used ? used->length : 0;
    }
    /// Bytes that are not 0: about 255 of 256.
    std::ptrdiff_t random_bytes(virtio::GuestAddress at, std::size_t length) const {
        const std::span<const std::byte> bytes = ram_.at(at, length);
        return std::ranges::count_if(bytes, [](std::byte byte) { return byte != std::byte{0}; });
    }

    test::GuestRam ram_;
    test::QueueDriver queue_{ram_, {.size = 64}};
    test::CountingNotifier notifier_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Entropy entropy_{*loop_};
};

TEST_F(EntropyTest, FillsTheBuffer) {
    const virtio::GuestAddress at = ram_.allocate(1024);
    EXPECT_EQ(ask(at, 1000), 1000U);
    EXPECT_GT(random_bytes(at, 1000), 900);
    EXPECT_EQ(random_bytes(virtio::GuestAddress{std::to_underlying(at) + 1000}, 24), 0);
    EXPECT_EQ(notifier_.used[0], 1);
}

TEST_F(EntropyTest, FillsSeveralBuffersOfOneChain) {
    const virtio::GuestAddress a = ram_.allocate(64);
    const virtio::GuestAddress b = ram_.allocate(64);
    queue_.add({{.at = a, .length = 64, .direction = Direction::FromDevice},
                {.at = b, .length = 64, .direction = Direction::FromDevice}});
    entropy_.kick(0);
    EXPECT_EQ(queue_.collect()->length, 128U);
    EXPECT_GT(random_bytes(b, 64), 48);
}

// Over-allocation: the guest names the length, and it may be all of its memory.
TEST_F(EntropyTest, GivesAtMost64KiBForOneRequest) {
    const virtio::GuestAddress at = ram_.allocate(1U << 20U);
    EXPECT_EQ(ask(at, 65536), 65536U);
    EXPECT_EQ(ask(at, 1U << 20U), 65536U);
    EXPECT_EQ(random_bytes(virtio::GuestAddress{std::to_underlying(at) + 65536}, 4096), 0);
}

TEST_F(EntropyTest, ChainWithNothingToFillGoesBackEmpty) {
    queue_.add({{.at = ram_.allocate(16), .length = 16}});
    entropy_.kick(0);
    EXPECT_EQ(queue_.collect()->length, 0U);
}

// A guest that keeps asking has its turn, and then others have theirs.
TEST_F(EntropyTest, AFullQueueTakesSeveralTurns) {
    constexpr std::uint16_t asked = 2 * Entropy::kChainsPerTurn + 1;
    for (std::uint16_t i = 0; i < asked; ++i) {
        queue_.add({{.at = ram_.allocate(8), .length = 8, .direction = Direction::FromDevice}});
    }
    entropy_.kick(0);
    EXPECT_EQ(queue_.used_idx(), Entropy::kChainsPerTurn);
    ASSERT_TRUE(loop_->run_once(std::chrono::seconds(0)).has_value());
    EXPECT_EQ(queue_.used_idx(), 2 * Entropy::kChainsPerTurn);
    ASSERT_TRUE(loop_->run_once(std::chrono::seconds(0)).has_value());
    EXPECT_EQ(queue_.used_idx(), asked);
    EXPECT_EQ(loop_->until_deadline(), std::nullopt) << "and then it waits for a kick";
}

TEST_F(EntropyTest, NoTurnComesAfterReset) {
    for (std::size_t i = 0; i <= Entropy::kChainsPerTurn; ++i) {
        queue_.add({{.at = ram_.allocate(8), .length = 8, .direction = Direction::FromDevice}});
    }
    entropy_.kick(0);
    EXPECT_NE(loop_->until_deadline(), std::nullopt);
    entropy_.reset();
    EXPECT_EQ(loop_->until_deadline(), std::nullopt);
}

TEST_F(EntropyTest, BrokenRingIsToldOnce) {
    queue_.publish(64);
    entropy_.kick(0);
    entropy_.kick(0);
    EXPECT_EQ(notifier_.broken[0], 1);
}

TEST_F(EntropyTest, StoppedQueueSaysWhereToGoOn) {
    ask(ram_.allocate(8), 8);
    EXPECT_EQ(entropy_.stop_queue(0), 1);
    EXPECT_EQ(entropy_.stop_queue(0), 0);
    entropy_.kick(0);
    entropy_.reset();
}

}  // namespace
}  // namespace pepita::vmm
