// What holds for a device whatever carries it: the same devices, the same driver, each transport.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "storage/virtio_block.h"
#include "test/support/carrier.h"
#include "test/support/driver.h"
#include "test/support/fake_block_device.h"
#include "vmm/entropy/device.h"

namespace pepita::vmm {
namespace {

using test::Buffer;
using test::Direction;

constexpr std::uint16_t kQueueSize = 16;

struct Transport {
    const char* name;
    std::unique_ptr<test::Carrier> (*carry)(const test::Carried&);
};

class ConformanceTest : public testing::TestWithParam<Transport> {
protected:
    void carry(virtio::Device& device) {
        carrier_ = GetParam().carry({.loop = *loop_, .ram = ram_, .device = device});
    }
    void renew_queue(std::uint64_t features) {
        queue_ = std::make_unique<test::QueueDriver>(
            ram_, test::QueueDriver::Options{.size = kQueueSize, .features = features});
    }
    void start(std::uint64_t features) {
        renew_queue(features);
        carrier_->start(features, *queue_);
    }
    void start() { start(carrier_->offered()); }

    // One request for random bytes. Whether they came.
    bool is_served() {
        const virtio::GuestAddress at = ram_.allocate(64);
        (void)queue_->add({{.at = at, .length = 64, .direction = Direction::FromDevice}});
        carrier_->notify();
        const auto used = queue_->collect();
        return used && used->length == 64 && ram_.text_at(at, 64) != std::string(64, '\0');
    }

    // Declared before the carrier, so that they outlive it.
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    test::GuestRam ram_;
    Entropy entropy_{*loop_};
    std::unique_ptr<storage::VirtioBlock> block_;
    std::unique_ptr<test::QueueDriver> queue_;
    std::unique_ptr<test::Carrier> carrier_;
};

TEST_P(ConformanceTest, OffersWhatEachTransportAdds) {
    carry(entropy_);
    EXPECT_EQ(carrier_->offered(), entropy_.features() | abi::kVirtioFVersion1 |
                                       abi::kVirtioFEventIdx | abi::kVirtioFIndirectDesc);
}

TEST_P(ConformanceTest, ServesARequestAndInterruptsOnce) {
    carry(entropy_);
    start();
    EXPECT_EQ(carrier_->take_interrupts(), 0U);
    EXPECT_TRUE(is_served());
    EXPECT_EQ(carrier_->take_interrupts(), 1U);
}

TEST_P(ConformanceTest, ServesWithoutAnyOptionalFeature) {
    carry(entropy_);
    start(abi::kVirtioFVersion1);
    EXPECT_TRUE(is_served());
    EXPECT_EQ(carrier_->take_interrupts(), 1U);
}

TEST_P(ConformanceTest, ServesIndirectDescriptors) {
    carry(entropy_);
    start();
    const virtio::GuestAddress at = ram_.allocate(64);
    (void)queue_->add_indirect({{.at = at, .length = 64, .direction = Direction::FromDevice}});
    carrier_->notify();
    EXPECT_TRUE(queue_->collect().has_value());
}

TEST_P(ConformanceTest, ServesWhatWasThereBeforeTheStart) {
    carry(entropy_);
    renew_queue(abi::kVirtioFVersion1);
    const virtio::GuestAddress at = ram_.allocate(8);
    (void)queue_->add({{.at = at, .length = 8, .direction = Direction::FromDevice}});
    carrier_->start(abi::kVirtioFVersion1, *queue_);
    carrier_->run();
    EXPECT_TRUE(queue_->collect().has_value());
    EXPECT_EQ(carrier_->take_interrupts(), 1U);
}

TEST_P(ConformanceTest, SendsNoInterruptThatTheDriverRefuses) {
    carry(entropy_);
    start();
    queue_->refuse_interrupts();
    EXPECT_TRUE(is_served());
    EXPECT_EQ(carrier_->take_interrupts(), 0U);
}

TEST_P(ConformanceTest, KickOfAnEmptyQueueDoesNothing) {
    carry(entropy_);
    start();
    carrier_->notify();
    EXPECT_EQ(carrier_->take_interrupts(), 0U);
    EXPECT_FALSE(carrier_->is_broken());
    EXPECT_TRUE(is_served());
}

TEST_P(ConformanceTest, ServesManyTimesRoundTheRing) {
    carry(entropy_);
    start();
    int served = 0;
    for (int i = 0; i < 5 * kQueueSize; ++i) {
        served += is_served() ? 1 : 0;
    }
    EXPECT_EQ(served, 5 * kQueueSize);
}

TEST_P(ConformanceTest, TellsOfABrokenRingAndTouchesItNoMore) {
    carry(entropy_);
    start();
    queue_->set_available_idx(kQueueSize + 1);
    carrier_->notify();
    EXPECT_TRUE(carrier_->is_broken());
    EXPECT_FALSE(queue_->collect().has_value());
}

TEST_P(ConformanceTest, ServesNothingAfterStop) {
    carry(entropy_);
    start();
    carrier_->stop();
    EXPECT_FALSE(is_served());
    EXPECT_EQ(carrier_->take_interrupts(), 0U);
}

TEST_P(ConformanceTest, StartsAgainAfterStop) {
    carry(entropy_);
    start();
    EXPECT_TRUE(is_served());
    carrier_->stop();
    start();
    EXPECT_TRUE(is_served());
}

// A disk whose requests are done when the test says so.
class BlockConformanceTest : public ConformanceTest {
protected:
    void SetUp() override {
        auto disk = std::make_unique<test::FakeBlockDevice>(Sectors(16));
        disk_ = disk.get();
        block_ = *storage::VirtioBlock::create(*loop_, std::move(disk), "disk-1");
        carry(*block_);
    }
    // Where the status byte of the request will stand.
    virtio::GuestAddress ask(std::uint32_t type, std::uint64_t sector, const Buffer& data) {
        const abi::VirtioBlkRequestHeader header{.type = type, .reserved = 0, .sector = sector};
        const virtio::GuestAddress at = ram_.place(std::as_bytes(std::span(&header, 1)));
        const virtio::GuestAddress status = ram_.allocate(1);
        ram_.write(status, std::uint8_t{0xee});
        (void)queue_->add({{.at = at, .length = sizeof(header)},
                           data,
                           {.at = status, .length = 1, .direction = Direction::FromDevice}});
        carrier_->notify();
        return status;
    }
    std::uint8_t status_at(virtio::GuestAddress at) const { return ram_.read<std::uint8_t>(at); }

    test::FakeBlockDevice* disk_ = nullptr;
};

TEST_P(BlockConformanceTest, ConfigurationIsTheDevices) {
    const auto bytes = carrier_->config(block_->config().size());
    EXPECT_TRUE(std::ranges::equal(bytes, block_->config()));
}

TEST_P(BlockConformanceTest, WrittenSectorReadsBack) {
    start();
    const virtio::GuestAddress out = ram_.place(std::string(512, 'w'));
    const virtio::GuestAddress in = ram_.allocate(512);
    const virtio::GuestAddress wrote = ask(abi::kVirtioBlkTOut, 3, {.at = out, .length = 512});
    disk_->finish(0);
    EXPECT_EQ(status_at(wrote), 0);
    const virtio::GuestAddress read =
        ask(abi::kVirtioBlkTIn, 3, {.at = in, .length = 512, .direction = Direction::FromDevice});
    disk_->finish(0);
    EXPECT_EQ(status_at(read), 0);
    EXPECT_EQ(ram_.text_at(in, 512), std::string(512, 'w'));
    EXPECT_GE(carrier_->take_interrupts(), 1U);
}

// The class of CVE-2026-45782: memory given back while the disk still works on it.
TEST_P(BlockConformanceTest, StopWaitsForWhatIsInFlight) {
    start();
    const virtio::GuestAddress in = ram_.allocate(512);
    (void)ask(abi::kVirtioBlkTIn, 0, {.at = in, .length = 512, .direction = Direction::FromDevice});
    ASSERT_EQ(disk_->waiting.size(), 1U);
    carrier_->stop();
    EXPECT_TRUE(disk_->waiting.empty());
}

TEST_P(BlockConformanceTest, EndOfTheTransportWaitsForWhatIsInFlight) {
    start();
    const virtio::GuestAddress in = ram_.allocate(512);
    (void)ask(abi::kVirtioBlkTIn, 0, {.at = in, .length = 512, .direction = Direction::FromDevice});
    ASSERT_EQ(disk_->waiting.size(), 1U);
    carrier_.reset();
    EXPECT_TRUE(disk_->waiting.empty());
}

constexpr std::array kTransports = {
    Transport{.name = "Pci", .carry = test::carry_by_pci},
    Transport{.name = "VhostUser", .carry = test::carry_by_vhost_user}};

std::string name_of(const testing::TestParamInfo<Transport>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Over, ConformanceTest, testing::ValuesIn(kTransports), name_of);
INSTANTIATE_TEST_SUITE_P(Over, BlockConformanceTest, testing::ValuesIn(kTransports), name_of);

}  // namespace
}  // namespace pepita::vmm
