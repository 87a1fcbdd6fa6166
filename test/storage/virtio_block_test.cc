#include "storage/virtio_block.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "test/support/driver.h"
#include "test/support/fake_block_device.h"

namespace pepita::storage {
namespace {

using storage::Access;
using storage::IoStatus;
using test::Buffer;
using test::Direction;
using test::FakeBlockDevice;
using test::GuestRam;
using test::QueueDriver;

constexpr std::uint8_t kOk = 0;
constexpr std::uint8_t kIoError = 1;
constexpr std::uint8_t kUnsupported = 2;
constexpr std::uint8_t kUntouched = 0xee;

/// A driver for virtio-blk in a guest of its own.
struct BlockGuest {
    struct Asked {
        std::uint16_t head;
        virtio::GuestAddress data;
        virtio::GuestAddress status;
    };

    Asked request(std::uint32_t type, std::uint64_t sector, std::uint32_t length,
                  Direction direction) {
        const abi::VirtioBlkRequestHeader header{.type = type, .reserved = 0, .sector = sector};
        const virtio::GuestAddress at = ram.place(std::as_bytes(std::span(&header, 1)));
        const virtio::GuestAddress data = ram.allocate(std::max(length, 1U));
        const virtio::GuestAddress status = ram.allocate(1);
        ram.write(status, kUntouched);
        std::vector<Buffer> chain{{.at = at, .length = sizeof(header)}};
        if (length > 0) {
            chain.push_back({.at = data, .length = length, .direction = direction});
        }
        chain.push_back({.at = status, .length = 1, .direction = Direction::FromDevice});
        return {.head = queue.add(chain), .data = data, .status = status};
    }
    Asked read(std::uint64_t sector, std::uint32_t length = 512) {
        return request(abi::kVirtioBlkTIn, sector, length, Direction::FromDevice);
    }
    Asked write(std::uint64_t sector, std::string_view text, std::uint32_t length = 512) {
        const Asked asked = request(abi::kVirtioBlkTOut, sector, length, Direction::ToDevice);
        std::ranges::copy(std::as_bytes(std::span(text)), ram.at(asked.data, text.size()).begin());
        return asked;
    }
    Asked clear(std::uint32_t type, const abi::VirtioBlkRange& range) {
        const Asked asked = request(type, 0, sizeof(range), Direction::ToDevice);
        ram.write(asked.data, range);
        return asked;
    }
    Asked flush() { return request(abi::kVirtioBlkTFlush, 0, 0, Direction::ToDevice); }
    std::uint8_t status(const Asked& asked) const { return ram.read<std::uint8_t>(asked.status); }

    GuestRam ram{16_MiB};
    QueueDriver queue{ram, {.size = 64}};
    test::CountingNotifier notifier;
};

class VirtioBlockTest : public testing::Test {
protected:
    void SetUp() override { make(Access::ReadWrite); }

    void make(Access access, std::uint32_t depth = 64) {
        auto fake = std::make_unique<FakeBlockDevice>(Sectors(16), access, depth);
        disk_ = fake.get();
        block_ = *VirtioBlock::create(*loop_, std::move(fake), "disk-1");
        start(block_->features() | test::kRingFeatures);
    }
    void start(std::uint64_t features) {
        block_->start(
            {.memory = guest_.ram.memory(), .features = features, .notifier = guest_.notifier});
        EXPECT_TRUE(block_->start_queue(0, guest_.queue.setup()).has_value());
    }
    /// Expects a request to be answered at once, without the disk hearing of it.
    void expect_refused(const BlockGuest::Asked& asked, std::uint8_t status) {
        block_->kick(0);
        EXPECT_TRUE(disk_->waiting.empty());
        EXPECT_EQ(guest_.status(asked), status);
        EXPECT_EQ(guest_.queue.collect()->id, asked.head);
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    BlockGuest guest_;
    FakeBlockDevice* disk_ = nullptr;
    std::unique_ptr<VirtioBlock> block_;
};

// --- what the driver sees of the disk

TEST_F(VirtioBlockTest, ConfigurationTellsSizeAndLimits) {
    abi::VirtioBlkConfig config{};
    ASSERT_EQ(block_->config().size(), sizeof(config));
    std::memcpy(&config, block_->config().data(), sizeof(config));
    EXPECT_EQ(config.capacity, 16U);
    EXPECT_EQ(config.seg_max, 126U);
    EXPECT_EQ(config.size_max, 32768U);
    EXPECT_EQ(config.blk_size, 512U);
}

TEST_F(VirtioBlockTest, OffersFlushOrReadOnly) {
    EXPECT_NE(block_->features() & abi::kVirtioBlkFFlush, 0U);
    EXPECT_EQ(block_->features() & abi::kVirtioBlkFReadOnly, 0U);
    make(Access::ReadOnly);
    EXPECT_EQ(block_->features() & abi::kVirtioBlkFFlush, 0U);
    EXPECT_NE(block_->features() & abi::kVirtioBlkFReadOnly, 0U);
}

TEST(VirtioBlock, SerialIsUpToTwentyPrintableCharacters) {
    const auto loop = *EventLoop::create();
    const auto create = [&](std::string_view serial) {
        return VirtioBlock::create(*loop, std::make_unique<FakeBlockDevice>(Sectors(1)), serial);
    };
    EXPECT_TRUE(create("").has_value());
    EXPECT_TRUE(create("12345678901234567890").has_value());
    EXPECT_EQ(create("123456789012345678901").error().code(), Code::InvalidArgument);
    EXPECT_EQ(create("a\nb").error().code(), Code::InvalidArgument);
}

// --- requests

TEST_F(VirtioBlockTest, ReadsIntoTheGuestsMemory) {
    disk_->bytes[1536] = std::byte{'R'};
    const auto asked = guest_.read(3, 1024);
    block_->kick(0);
    ASSERT_EQ(disk_->waiting.size(), 1U);
    EXPECT_GE(disk_->submits, 1);
    EXPECT_EQ(guest_.status(asked), kUntouched);
    EXPECT_FALSE(guest_.queue.collect().has_value());
    disk_->finish(0);
    EXPECT_EQ(guest_.status(asked), kOk);
    EXPECT_EQ(guest_.ram.text_at(asked.data, 1), "R");
    const auto used = guest_.queue.collect();
    EXPECT_EQ(used->id, asked.head);
    EXPECT_EQ(used->length, 1025U);
    EXPECT_EQ(guest_.notifier.used[0], 1);
}

TEST_F(VirtioBlockTest, WritesFromTheGuestsMemory) {
    const auto asked = guest_.write(15, "hello");
    block_->kick(0);
    disk_->finish(0);
    EXPECT_EQ(guest_.status(asked), kOk);
    EXPECT_EQ(disk_->bytes[7680], std::byte{'h'});
    EXPECT_EQ(guest_.queue.collect()->length, 1U);
}

TEST_F(VirtioBlockTest, FlushReachesTheDisk) {
    const auto asked = guest_.flush();
    block_->kick(0);
    ASSERT_EQ(disk_->waiting.size(), 1U);
    EXPECT_EQ(disk_->waiting[0].kind, FakeBlockDevice::Kind::Flush);
    disk_->finish(0);
    EXPECT_EQ(guest_.status(asked), kOk);
}

TEST_F(VirtioBlockTest, GetIdGivesTheSerialPaddedWithZeros) {
    const auto asked = guest_.request(abi::kVirtioBlkTGetId, 0, 20, Direction::FromDevice);
    block_->kick(0);
    EXPECT_EQ(guest_.status(asked), kOk);
    EXPECT_EQ(guest_.ram.text_at(asked.data, 20), std::string("disk-1") + std::string(14, '\0'));
    EXPECT_EQ(guest_.queue.collect()->length, 21U);
}

TEST_F(VirtioBlockTest, GetIdWithoutRoomIsAnError) {
    expect_refused(guest_.request(abi::kVirtioBlkTGetId, 0, 19, Direction::FromDevice), kIoError);
}

TEST_F(VirtioBlockTest, UnknownTypesAreUnsupported) {
    expect_refused(guest_.request(14, 0, 16, Direction::ToDevice), kUnsupported);  // secure erase
    expect_refused(guest_.request(0xffff'ffff, 0, 16, Direction::ToDevice), kUnsupported);
}

TEST_F(VirtioBlockTest, DiscardAndWriteZeroesReachTheDisk) {
    std::ranges::fill(disk_->bytes, std::byte{7});
    const auto discard =
        guest_.clear(abi::kVirtioBlkTDiscard, {.sector = 2, .sectors = 3, .flags = 0});
    const auto zeroes =
        guest_.clear(abi::kVirtioBlkTWriteZeroes,
                     {.sector = 8, .sectors = 8, .flags = abi::kVirtioBlkRangeUnmap});
    block_->kick(0);
    ASSERT_EQ(disk_->waiting.size(), 2U);
    EXPECT_EQ(disk_->waiting[0].kind, FakeBlockDevice::Kind::Discard);
    EXPECT_EQ(disk_->waiting[1].kind, FakeBlockDevice::Kind::WriteZeroes);
    disk_->finish(0);
    disk_->finish(0, IoStatus::NoSpace);
    EXPECT_EQ(guest_.status(discard), kOk);
    EXPECT_EQ(guest_.status(zeroes), kIoError);
    EXPECT_EQ(std::ranges::count(disk_->bytes, std::byte{0}), 3 * 512);
    EXPECT_EQ(disk_->bytes[2 * 512], std::byte{0});
    EXPECT_EQ(disk_->bytes[5 * 512], std::byte{7});
}

// virtio 1.2 §5.2.6.2
TEST_F(VirtioBlockTest, RangesThatAreNoneAreRefused) {
    const auto refused = [&](std::uint32_t type, const abi::VirtioBlkRange& range,
                             std::uint8_t status) {
        expect_refused(guest_.clear(type, range), status);
    };
    constexpr auto discard = abi::kVirtioBlkTDiscard;
    constexpr auto zeroes = abi::kVirtioBlkTWriteZeroes;
    refused(discard, {.sector = 0, .sectors = 17, .flags = 0}, kIoError);
    refused(discard, {.sector = ~0ULL, .sectors = 2, .flags = 0}, kIoError);
    refused(discard, {.sector = 0, .sectors = 0, .flags = 0}, kIoError);
    refused(discard, {.sector = 0, .sectors = 1, .flags = abi::kVirtioBlkRangeUnmap}, kUnsupported);
    refused(zeroes, {.sector = 0, .sectors = 1, .flags = 2}, kUnsupported);
    expect_refused(guest_.request(discard, 0, 15, Direction::ToDevice), kIoError);  // cut short
    expect_refused(guest_.request(discard, 0, 32, Direction::ToDevice), kIoError);  // two ranges
    make(Access::ReadOnly);
    refused(zeroes, {.sector = 0, .sectors = 1, .flags = 0}, kIoError);
}

TEST_F(VirtioBlockTest, WhatTheDiskCannotDoIsUnsupported) {
    const auto asked =
        guest_.clear(abi::kVirtioBlkTDiscard, {.sector = 0, .sectors = 8, .flags = 0});
    block_->kick(0);
    disk_->finish(0, IoStatus::Unsupported);
    EXPECT_EQ(guest_.status(asked), kUnsupported);
}

TEST_F(VirtioBlockTest, SeveralQueuesShareTheDisk) {
    auto fake = std::make_unique<FakeBlockDevice>(Sectors(16), Access::ReadWrite, 2);
    disk_ = fake.get();
    block_ = *VirtioBlock::create(*loop_, std::move(fake), "disk-1", 2);
    EXPECT_NE(block_->features() & abi::kVirtioBlkFMq, 0U);
    EXPECT_EQ(block_->queue_sizes().size(), 2U);
    BlockGuest other;  // with a queue of its own; only its rings and memory matter here
    start(block_->features() | test::kRingFeatures);
    EXPECT_TRUE(block_->start_queue(1, other.queue.setup()).has_value());
    const auto first = guest_.read(0);
    const auto second = other.read(1);
    const auto third = other.read(2);  // waits: the disk takes two at once
    block_->kick(0);
    block_->kick(1);
    ASSERT_EQ(disk_->waiting.size(), 2U);
    EXPECT_EQ(first.head, second.head);  // told apart by their queues
    disk_->finish(1);
    EXPECT_EQ(other.queue.collect()->id, second.head);
    EXPECT_EQ(guest_.queue.collect(), std::nullopt);
    ASSERT_EQ(disk_->waiting.size(), 2U);
    disk_->finish(0);
    disk_->finish(0);
    EXPECT_EQ(guest_.status(first), kOk);
    EXPECT_EQ(other.status(third), kOk);
    EXPECT_EQ(block_->stop_queue(1), 2U);
    EXPECT_EQ(VirtioBlock::create(*loop_, std::make_unique<FakeBlockDevice>(Sectors(1)), "x", 0)
                  .error()
                  .code(),
              Code::InvalidArgument);
    EXPECT_EQ(VirtioBlock::create(*loop_, std::make_unique<FakeBlockDevice>(Sectors(1)), "x", 65)
                  .error()
                  .code(),
              Code::InvalidArgument);
}

TEST_F(VirtioBlockTest, ANewSizeIsTold) {
    disk_->bytes.resize(32 * 512);
    ASSERT_TRUE(block_->resized().has_value());
    abi::VirtioBlkConfig config{};
    std::memcpy(&config, block_->config().data(), sizeof(config));
    EXPECT_EQ(config.capacity, 32U);
    EXPECT_EQ(guest_.notifier.config_changes, 1);
}

TEST_F(VirtioBlockTest, DiskErrorIsAnError) {
    const auto asked = guest_.read(0);
    block_->kick(0);
    disk_->finish(0, IoStatus::Failed);
    EXPECT_EQ(guest_.status(asked), kIoError);
    EXPECT_EQ(guest_.queue.collect()->length, 0U) << "the data was not written";
}

TEST_F(VirtioBlockTest, ServesWhatWasThereBeforeTheQueueStarted) {
    block_->reset();
    QueueDriver queue(guest_.ram);
    const abi::VirtioBlkRequestHeader header{
        .type = abi::kVirtioBlkTFlush, .reserved = 0, .sector = 0};
    queue.add({{.at = guest_.ram.place(std::as_bytes(std::span(&header, 1))), .length = 16},
               {.at = guest_.ram.allocate(1), .length = 1, .direction = Direction::FromDevice}});
    block_->start({.memory = guest_.ram.memory(), .features = 0, .notifier = guest_.notifier});
    EXPECT_TRUE(block_->start_queue(0, queue.setup()).has_value());
    EXPECT_EQ(disk_->waiting.size(), 1U);
}

TEST_F(VirtioBlockTest, ManyRequestsAreInFlightAndComeBackInAnyOrder) {
    const auto first = guest_.read(0);
    const auto second = guest_.read(1);
    const auto third = guest_.write(2, "x");
    block_->kick(0);
    ASSERT_EQ(disk_->waiting.size(), 3U);
    disk_->finish(1);
    disk_->finish(1);
    disk_->finish(0);
    EXPECT_EQ(guest_.queue.collect()->id, second.head);
    EXPECT_EQ(guest_.queue.collect()->id, third.head);
    EXPECT_EQ(guest_.queue.collect()->id, first.head);
}

// --- requests that are refused

TEST_F(VirtioBlockTest, LastSectorIsReadAndTheNextIsNot) {
    expect_refused(guest_.read(16), kIoError);
    expect_refused(guest_.read(15, 1024), kIoError);
    guest_.read(15);
    block_->kick(0);
    EXPECT_EQ(disk_->waiting.size(), 1U);
}

// Integer wrap: sector * 512, or sector + count, past 2^64.
TEST_F(VirtioBlockTest, SectorsNearTheTopDoNotWrap) {
    expect_refused(guest_.read(std::numeric_limits<std::uint64_t>::max()), kIoError);
    expect_refused(guest_.read(1ULL << 55U), kIoError);
    expect_refused(guest_.write(std::numeric_limits<std::uint64_t>::max(), "x", 1024), kIoError);
}

TEST_F(VirtioBlockTest, PartsOfASectorAndNoDataAreErrors) {
    expect_refused(guest_.read(0, 511), kIoError);
    expect_refused(guest_.write(0, "x", 513), kIoError);
    expect_refused(guest_.request(abi::kVirtioBlkTIn, 0, 0, Direction::FromDevice), kIoError);
}

TEST_F(VirtioBlockTest, ReadOnlyDiskIsNotWritten) {
    make(Access::ReadOnly);
    expect_refused(guest_.write(0, "x"), kIoError);
    EXPECT_EQ(disk_->bytes[0], std::byte{0});
}

TEST(VirtioBlock, RequestAsLongAsTheLimitIsTakenAndALongerOneIsNot) {
    BlockGuest guest;
    auto fake = std::make_unique<FakeBlockDevice>(Sectors(16384));
    FakeBlockDevice* disk = fake.get();
    const auto loop = *EventLoop::create();
    auto block = *VirtioBlock::create(*loop, std::move(fake), "");
    block->start({.memory = guest.ram.memory(), .features = 0, .notifier = guest.notifier});
    EXPECT_TRUE(block->start_queue(0, guest.queue.setup()).has_value());
    constexpr std::uint32_t limit = 126 * 32768;
    const auto longer = guest.read(0, limit + 512);
    block->kick(0);
    EXPECT_TRUE(disk->waiting.empty());
    EXPECT_EQ(guest.status(longer), kIoError);
    guest.read(0, limit);
    block->kick(0);
    EXPECT_EQ(disk->waiting.size(), 1U);
}

TEST_F(VirtioBlockTest, HeaderCutShortIsAnError) {
    const virtio::GuestAddress status = guest_.ram.allocate(1);
    guest_.queue.add({{.at = guest_.ram.allocate(15), .length = 15},
                      {.at = status, .length = 1, .direction = Direction::FromDevice}});
    block_->kick(0);
    EXPECT_EQ(guest_.ram.read<std::uint8_t>(status), kIoError);
}

TEST_F(VirtioBlockTest, ChainWithoutRoomForAStatusGoesBackEmpty) {
    guest_.queue.add({{.at = guest_.ram.allocate(600), .length = 600}});
    block_->kick(0);
    EXPECT_EQ(guest_.queue.collect()->length, 0U);
    EXPECT_TRUE(disk_->waiting.empty());
}

// TOCTOU: the header was copied; what the guest makes of it afterwards is nothing to us.
TEST_F(VirtioBlockTest, HeaderIsReadOnce) {
    const abi::VirtioBlkRequestHeader header{
        .type = abi::kVirtioBlkTIn, .reserved = 0, .sector = 2};
    const virtio::GuestAddress at = guest_.ram.place(std::as_bytes(std::span(&header, 1)));
    const virtio::GuestAddress data = guest_.ram.allocate(512);
    guest_.queue.add(
        {{.at = at, .length = 16},
         {.at = data, .length = 512, .direction = Direction::FromDevice},
         {.at = guest_.ram.allocate(1), .length = 1, .direction = Direction::FromDevice}});
    block_->kick(0);
    guest_.ram.write(at,
                     abi::VirtioBlkRequestHeader{.type = 1, .reserved = 0, .sector = 1U << 30U});
    ASSERT_EQ(disk_->waiting.size(), 1U);
    EXPECT_EQ(disk_->waiting[0].kind, FakeBlockDevice::Kind::Read);
    EXPECT_EQ(disk_->waiting[0].first, Sectors(2));
    disk_->finish(0);
    EXPECT_EQ(guest_.queue.collect()->length, 513U);
}

TEST_F(VirtioBlockTest, BrokenRingIsToldOnceAndWhatIsInFlightStillComesBack) {
    const auto asked = guest_.read(0);
    block_->kick(0);
    guest_.queue.publish(999);
    block_->kick(0);
    block_->kick(0);
    EXPECT_EQ(guest_.notifier.broken[0], 1);
    disk_->finish(0);
    EXPECT_EQ(guest_.status(asked), kOk);
}

// --- flow

TEST_F(VirtioBlockTest, TakesNoMoreThanTheDiskDoesAtOnceAndGoesOnByItself) {
    make(Access::ReadWrite, 2);
    for (std::uint64_t i = 0; i < 5; ++i) {
        guest_.read(i);
    }
    block_->kick(0);
    EXPECT_EQ(disk_->waiting.size(), 2U);
    disk_->finish(0);
    EXPECT_EQ(disk_->waiting.size(), 2U) << "the third came without a kick";
    disk_->drain();
    EXPECT_EQ(guest_.queue.used_idx(), 5);
    guest_.queue.needs_kick();
    guest_.read(0);
    EXPECT_TRUE(guest_.queue.needs_kick()) << "kicks are on again";
}

// There are always more chains than the disk has room for, and it is done at once.
TEST_F(VirtioBlockTest, AGuestThatKeepsAskingLetsOthersHaveTheirTurn) {
    constexpr std::uint16_t asked = 2 * VirtioBlock::kChainsPerTurn + 1;
    make(Access::ReadWrite, 2);
    for (int i = 0; i < 3; ++i) {
        guest_.read(0);
    }
    disk_->on_finish = [&] {
        (void)guest_.queue.collect();
        if (disk_->finished + 2 < asked) {
            guest_.read(0);
        }
    };
    disk_->is_instant = true;
    block_->kick(0);
    EXPECT_EQ(disk_->finished, VirtioBlock::kChainsPerTurn);
    ASSERT_TRUE(loop_->run_once(std::chrono::seconds(0)).has_value());
    EXPECT_EQ(disk_->finished, 2 * VirtioBlock::kChainsPerTurn);
    ASSERT_TRUE(loop_->run_once(std::chrono::seconds(0)).has_value());
    EXPECT_EQ(disk_->finished, asked);
    EXPECT_EQ(loop_->until_deadline(), std::nullopt) << "and then it waits for a kick";
}

TEST_F(VirtioBlockTest, AQueueThatKeepsAskingLeavesTurnsToTheOthers) {
    auto fake = std::make_unique<FakeBlockDevice>(Sectors(16), Access::ReadWrite, 2);
    disk_ = fake.get();
    block_ = *VirtioBlock::create(*loop_, std::move(fake), "disk-1", 2);
    start(block_->features() | test::kRingFeatures);
    BlockGuest other;
    EXPECT_TRUE(block_->start_queue(1, other.queue.setup()).has_value());
    for (int i = 0; i < 3; ++i) {
        guest_.read(0);
    }
    disk_->on_finish = [&] {
        (void)guest_.queue.collect();
        guest_.read(0);
    };
    disk_->is_instant = true;
    const auto late = other.read(1);
    block_->kick(0);
    block_->kick(1);
    EXPECT_EQ(other.status(late), kOk);
    disk_->on_finish = nullptr;
}

TEST_F(VirtioBlockTest, LargeClearsFillATurnSooner) {
    constexpr std::uint32_t gib = 2U << 20U;
    auto fake = std::make_unique<FakeBlockDevice>(Sectors(gib));
    disk_ = fake.get();
    block_ = *VirtioBlock::create(*loop_, std::move(fake), "disk-1");
    start(block_->features() | test::kRingFeatures);
    guest_.clear(abi::kVirtioBlkTDiscard, {.sector = 0, .sectors = gib, .flags = 0});
    guest_.clear(abi::kVirtioBlkTDiscard, {.sector = 0, .sectors = gib, .flags = 0});
    block_->kick(0);
    EXPECT_EQ(disk_->waiting.size(), 1U);
    ASSERT_TRUE(loop_->run_once(std::chrono::seconds(0)).has_value());
    EXPECT_EQ(disk_->waiting.size(), 2U);
    disk_->finish(0);
    disk_->finish(0);
}

TEST_F(VirtioBlockTest, InterruptsOnlyWhereTheDriverWantsThem) {
    guest_.queue.refuse_interrupts();
    guest_.flush();
    block_->kick(0);
    disk_->finish(0);
    EXPECT_EQ(guest_.notifier.used[0], 0);
}

// virtio 1.2 §5.2.6.2: a driver without VIRTIO_BLK_F_FLUSH gets write-through.
TEST_F(VirtioBlockTest, WriteIsFlushedFirstForADriverThatCannotFlush) {
    block_->reset();
    start(test::kRingFeatures);
    const auto asked = guest_.write(0, "x");
    block_->kick(0);
    disk_->finish(0);
    EXPECT_EQ(guest_.status(asked), kUntouched);
    ASSERT_EQ(disk_->waiting.size(), 1U);
    EXPECT_EQ(disk_->waiting[0].kind, FakeBlockDevice::Kind::Flush);
    disk_->finish(0);
    EXPECT_EQ(guest_.status(asked), kOk);
    EXPECT_EQ(guest_.queue.collect()->length, 1U);
}

// --- the end

TEST_F(VirtioBlockTest, StoppedQueueHasAnsweredEverythingAndSaysWhereToGoOn) {
    const auto asked = guest_.read(0);
    block_->kick(0);
    EXPECT_EQ(block_->stop_queue(0), 1);
    EXPECT_EQ(guest_.status(asked), kOk);
    EXPECT_EQ(guest_.notifier.used[0], 1);
    guest_.read(1);
    block_->kick(0);
    EXPECT_TRUE(disk_->waiting.empty()) << "no queue, no requests";
    EXPECT_EQ(block_->stop_queue(0), 0);
    EXPECT_EQ(block_->stop_queue(7), 0);
}

// Use after free (CVE-2026-45782): a completion that arrives after reset finds no request, or
// somebody else's. There is none: reset waits.
TEST_F(VirtioBlockTest, ResetWaitsForWhatIsInFlightAndSaysNothing) {
    guest_.read(0);
    guest_.write(1, "late");
    block_->kick(0);
    EXPECT_EQ(disk_->waiting.size(), 2U);
    block_->reset();
    EXPECT_TRUE(disk_->waiting.empty());
    EXPECT_EQ(disk_->bytes[512], std::byte{'l'});
    EXPECT_EQ(guest_.notifier.used[0], 0);
    block_->reset();  // twice is once
}

TEST_F(VirtioBlockTest, DestructorWaitsForWhatIsInFlight) {
    const auto asked = guest_.read(0);
    block_->kick(0);
    block_.reset();
    EXPECT_EQ(guest_.status(asked), kOk);
}

// --- over a real file

class BlockOverFileTest : public testing::Test {
protected:
    static constexpr std::uint64_t kSectors = 2048;

    void SetUp() override {
        ASSERT_EQ(::ftruncate(file_.ref().number(), kSectors * 512), 0);
        auto disk = storage::FileDevice::create(*duplicate(file_.ref()), Access::ReadWrite, *loop_);
        block_ = *VirtioBlock::create(*loop_, *std::move(disk), "file");
        block_->start({.memory = guest_.ram.memory(),
                       .features = block_->features() | test::kRingFeatures,
                       .notifier = guest_.notifier});
        EXPECT_TRUE(block_->start_queue(0, guest_.queue.setup()).has_value());
    }
    std::optional<abi::VirtqUsedElement> next_used() {
        const auto deadline = EventLoop::Clock::now() + std::chrono::seconds(20);
        auto used = guest_.queue.collect();
        while (!used && EventLoop::Clock::now() < deadline) {
            EXPECT_TRUE(loop_->run_once(std::chrono::seconds(1)).has_value());
            used = guest_.queue.collect();
        }
        return used;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Fd file_{::memfd_create("disk", MFD_CLOEXEC)};
    BlockGuest guest_;
    std::unique_ptr<VirtioBlock> block_;
};

TEST_F(BlockOverFileTest, WhatIsWrittenIsReadBack) {
    const auto written = guest_.write(2047, "to the file", 512);
    block_->kick(0);
    ASSERT_TRUE(next_used().has_value());
    EXPECT_EQ(guest_.status(written), kOk);
    const auto flushed = guest_.flush();
    block_->kick(0);
    ASSERT_TRUE(next_used().has_value());
    EXPECT_EQ(guest_.status(flushed), kOk);
    const auto read = guest_.read(2047, 512);
    block_->kick(0);
    ASSERT_TRUE(next_used().has_value());
    EXPECT_EQ(guest_.status(read), kOk);
    EXPECT_EQ(guest_.ram.text_at(read.data, 11), "to the file");
    std::array<char, 11> in_file{};
    ASSERT_EQ(::pread(file_.ref().number(), in_file.data(), in_file.size(), 1048064), 11);
    EXPECT_EQ(std::string_view(in_file.data(), in_file.size()), "to the file");
}

TEST_F(BlockOverFileTest, ResetWithRequestsInFlightLeavesTheMemoryAlone) {
    for (std::uint64_t i = 0; i < 16; ++i) {
        guest_.read(i * 8, 4096);
    }
    block_->kick(0);
    block_->reset();
    std::ranges::fill(guest_.ram.bytes(), std::byte{0x77});
    ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(0)).has_value());
    EXPECT_TRUE(std::ranges::all_of(guest_.ram.bytes(),
                                    [](std::byte byte) { return byte == std::byte{0x77}; }));
}

}  // namespace
}  // namespace pepita::storage
