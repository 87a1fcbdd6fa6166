#include "storage/request_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/tag_set.h"
#include "test/support/fake_block_device.h"

namespace pepita::storage {
namespace {

using test::FakeBlockDevice;

constexpr std::size_t kSector = 512;

class RequestQueueTest : public testing::Test {
protected:
    static constexpr MergeLimits kMerges{.segments = 8, .bytes = 16_KiB};

    void SetUp() override { make(kMerges); }

    void make(MergeLimits merging, std::chrono::nanoseconds deadline = std::chrono::seconds(30)) {
        auto disk = std::make_unique<FakeBlockDevice>(Sectors(256));
        disk_ = disk.get();
        disk_->merging = merging;
        queue_ = std::make_unique<RequestQueue>(
            std::move(disk),
            RequestQueue::Options{
                .loop = *loop_,
                .tags = tags_.queue(0),
                .on_complete =
                    [this](std::span<const IoCompletion> done) {
                        told_.insert(told_.end(), done.begin(), done.end());
                        for (const IoCompletion& one : done) {
                            tags_.queue(0).give_back(static_cast<Tag>(one.tag));
                        }
                    },
                .on_late = [this](const RequestQueue::Late& late) { late_.push_back(late); },
                .deadline = deadline});
    }
    Tag start(const RequestQueue::Request& request) {
        const std::optional<Tag> tag = tags_.queue(0).take();
        CHECK(tag.has_value());
        queue_->start(*tag, request);
        return *tag;
    }
    Tag move(IoOperation operation, std::uint64_t sector, std::span<std::byte> bytes,
             bool is_forced = false) {
        const BlockDevice::Segment segment = bytes;
        return start({.operation = operation,
                      .first = Sectors(sector),
                      .segments = {&segment, 1},
                      .is_forced = is_forced});
    }
    /// Every second piece of memory, so that no two touch.
    std::span<std::byte> memory(std::size_t index, std::size_t sectors = 1) {
        return std::span(memory_).subspan(index * 16 * kSector, sectors * kSector);
    }
    Tag read(std::uint64_t sector, std::size_t index) {
        return move(IoOperation::Read, sector, memory(index));
    }
    Tag write(std::uint64_t sector, std::size_t index) {
        return move(IoOperation::Write, sector, memory(index));
    }
    Tag flush() { return start({.operation = IoOperation::Flush, .segments = {}}); }
    std::vector<Tag> told() const {
        std::vector<Tag> tags;
        tags.reserve(told_.size());
        for (const IoCompletion& one : told_) {
            tags.push_back(static_cast<Tag>(one.tag));
        }
        std::ranges::sort(tags);
        return tags;
    }
    std::optional<IoStatus> status_of(Tag tag) const {
        const auto found = std::ranges::find(told_, tag, &IoCompletion::tag);
        return found == told_.end() ? std::nullopt : std::optional(found->status);
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    TagSet tags_ = *TagSet::create({.depth = 64});
    std::vector<std::byte> memory_ = std::vector<std::byte>(64UL * 16 * kSector);
    std::vector<IoCompletion> told_;
    std::vector<RequestQueue::Late> late_;
    FakeBlockDevice* disk_ = nullptr;
    std::unique_ptr<RequestQueue> queue_;
};

// --- merging

TEST_F(RequestQueueTest, ReadsThatLieBehindEachOtherAreOne) {
    disk_->bytes[10 * kSector] = std::byte{'a'};
    disk_->bytes[11 * kSector] = std::byte{'b'};
    disk_->bytes[12 * kSector] = std::byte{'c'};
    const Tag first = read(10, 0);
    const Tag second = read(11, 1);
    const Tag third = read(12, 2);
    EXPECT_TRUE(disk_->waiting.empty()) << "more may come until submit()";
    queue_->submit();
    ASSERT_EQ(disk_->waiting.size(), 1U);
    EXPECT_EQ(disk_->waiting[0].length, 3 * kSector);
    EXPECT_EQ(disk_->waiting[0].segments.size(), 3U);
    disk_->finish(0);
    EXPECT_EQ(told(), (std::vector{first, second, third}));
    EXPECT_EQ(memory(0)[0], std::byte{'a'});
    EXPECT_EQ(memory(1)[0], std::byte{'b'});
    EXPECT_EQ(memory(2)[0], std::byte{'c'});
    EXPECT_EQ(queue_->statistics().merged, 2U);
    EXPECT_EQ(queue_->under_way(), 0U);
}

TEST_F(RequestQueueTest, MemoryThatTouchesIsOneSegment) {
    const std::span<std::byte> both = memory(0, 2);
    move(IoOperation::Write, 4, both.first(kSector));
    move(IoOperation::Write, 5, both.subspan(kSector));
    queue_->submit();
    ASSERT_EQ(disk_->waiting.size(), 1U);
    EXPECT_EQ(disk_->waiting[0].segments.size(), 1U);
}

TEST_F(RequestQueueTest, WhatDoesNotBelongTogetherIsNotMerged) {
    read(0, 0);
    read(2, 1);                                    // a gap
    write(3, 2);                                   // another operation
    move(IoOperation::Write, 4, memory(3), true);  // forced
    write(5, 4);                                   // behind a forced one
    start({.operation = IoOperation::Discard,
           .first = Sectors(6),
           .count = Sectors(1),
           .segments = {}});
    write(7, 5);
    flush();
    write(8, 6);  // behind a flush
    queue_->submit();
    EXPECT_EQ(disk_->waiting.size(), 9U);
    EXPECT_EQ(queue_->statistics().merged, 0U);
}

TEST_F(RequestQueueTest, MergesUpToTheDevicesLimits) {
    for (std::size_t i = 0; i < 9; ++i) {
        read(i, i);
    }
    queue_->submit();
    ASSERT_EQ(disk_->waiting.size(), 2U) << "nine segments, eight at most";
    EXPECT_EQ(disk_->waiting[0].segments.size(), 8U);
    disk_->drain();
    for (std::size_t i = 0; i < 3; ++i) {
        move(IoOperation::Write, i * 16, memory(i, 16));
    }
    queue_->submit();
    ASSERT_EQ(disk_->waiting.size(), 2U) << "24 KiB, 16 KiB at most";
    EXPECT_EQ(disk_->waiting[0].length, 16384U);
}

TEST_F(RequestQueueTest, ADeviceThatDoesNotMergeGetsEachAtOnce) {
    make({});
    read(0, 0);
    read(1, 1);
    EXPECT_EQ(disk_->waiting.size(), 2U);
}

TEST_F(RequestQueueTest, WhatFailsTogetherIsAskedAgainAlone) {
    const Tag first = write(10, 0);
    const Tag second = write(11, 1);
    queue_->submit();
    const int submits = disk_->submits;
    disk_->finish(0, IoStatus::Failed);
    EXPECT_TRUE(told_.empty());
    ASSERT_EQ(disk_->waiting.size(), 2U);
    EXPECT_GT(disk_->submits, submits) << "nobody else would send them off";
    disk_->finish(0, IoStatus::NoSpace);
    disk_->finish(0);
    EXPECT_EQ(status_of(first), IoStatus::NoSpace);
    EXPECT_EQ(status_of(second), IoStatus::Ok);
}

TEST_F(RequestQueueTest, OneThatIsNoWholeSectorFailsAlone) {
    move(IoOperation::Read, 0, memory(0));
    move(IoOperation::Read, 1, memory(1).first(0));
    queue_->submit();
    EXPECT_EQ(disk_->waiting.size(), 2U);
}

// --- FUA and flush

TEST_F(RequestQueueTest, AForcedWriteIsDoneWhenItIsFlushed) {
    const Tag tag = move(IoOperation::Write, 0, memory(0), true);
    queue_->submit();
    EXPECT_EQ(disk_->waiting[0].kind, FakeBlockDevice::Kind::Write);
    const int submits = disk_->submits;
    disk_->finish(0);
    EXPECT_TRUE(told_.empty());
    ASSERT_EQ(disk_->waiting.size(), 1U);
    EXPECT_EQ(disk_->waiting[0].kind, FakeBlockDevice::Kind::Flush);
    EXPECT_GT(disk_->submits, submits);
    disk_->finish(0);
    EXPECT_EQ(status_of(tag), IoStatus::Ok);
}

TEST_F(RequestQueueTest, AForcedDiscardIsFlushedAndAForcedReadIsNot) {
    start({.operation = IoOperation::Discard,
           .first = Sectors(0),
           .count = Sectors(1),
           .segments = {},
           .is_forced = true});
    const Tag read = move(IoOperation::Read, 9, memory(0), true);
    queue_->submit();
    disk_->finish(0);
    disk_->finish(0);
    EXPECT_EQ(told(), std::vector{read});
    ASSERT_EQ(disk_->waiting.size(), 1U);
    EXPECT_EQ(disk_->waiting[0].kind, FakeBlockDevice::Kind::Flush);
}

TEST_F(RequestQueueTest, AForcedWriteFailsWithItsWriteOrItsFlush) {
    const Tag first = move(IoOperation::Write, 0, memory(0), true);
    const Tag second = move(IoOperation::Write, 8, memory(1), true);
    queue_->submit();
    disk_->finish(0, IoStatus::NoSpace);
    EXPECT_EQ(status_of(first), IoStatus::NoSpace) << "there is nothing to flush";
    disk_->finish(0);
    disk_->finish(0, IoStatus::Failed);
    EXPECT_EQ(status_of(second), IoStatus::Failed);
}

// What was told to be done while a flush is under way may not be in it.
TEST_F(RequestQueueTest, AFlushDoesNotCountForWhoAsksWhileItIsUnderWay) {
    const Tag early = flush();
    const Tag written = write(0, 0);
    queue_->submit();
    disk_->finish(0);
    EXPECT_EQ(told(), std::vector{written});
    told_.clear();
    const Tag late = flush();
    queue_->submit();
    ASSERT_EQ(disk_->waiting.size(), 1U) << "one at a time";
    disk_->finish(0);
    EXPECT_EQ(status_of(early), IoStatus::Ok);
    EXPECT_EQ(status_of(late), std::nullopt);
    ASSERT_EQ(disk_->waiting.size(), 1U);
    disk_->finish(0);
    EXPECT_EQ(status_of(late), IoStatus::Ok);
}

TEST_F(RequestQueueTest, FlushesThatWaitShareOne) {
    const Tag first = flush();
    queue_->submit();
    const Tag second = flush();
    const Tag third = flush();
    queue_->submit();
    disk_->finish(0);
    ASSERT_EQ(disk_->waiting.size(), 1U);
    disk_->finish(0, IoStatus::Failed);
    EXPECT_EQ(status_of(first), IoStatus::Ok);
    EXPECT_EQ(status_of(second), IoStatus::Failed);
    EXPECT_EQ(status_of(third), IoStatus::Failed);
    EXPECT_EQ(queue_->statistics().flushes_shared, 1U);
}

// --- the end, and the deadline

TEST_F(RequestQueueTest, DrainWaitsForFlushesToo) {
    move(IoOperation::Write, 0, memory(0), true);
    read(8, 1);
    read(9, 2);
    flush();
    queue_->drain();
    EXPECT_EQ(told_.size(), 4U);
    EXPECT_EQ(queue_->under_way(), 0U);
    EXPECT_EQ(tags_.queue(0).in_use(), 0U);
}

TEST_F(RequestQueueTest, ALateRequestIsToldOnceAndStillComesBack) {
    make({}, std::chrono::milliseconds(20));
    disk_->bytes[0] = std::byte{'x'};
    const Tag tag = read(0, 0);
    queue_->submit();
    EXPECT_FALSE(queue_->poll());
    while (late_.empty()) {
        ASSERT_TRUE(loop_->run_once(std::chrono::seconds(20)).has_value());
    }
    EXPECT_EQ(late_[0].count, 1U);
    EXPECT_EQ(late_[0].operation, IoOperation::Read);
    EXPECT_GE(late_[0].age, std::chrono::milliseconds(20));
    EXPECT_EQ(status_of(tag), std::nullopt);
    EXPECT_TRUE(tags_.queue(0).is_taken(tag)) << "the disk may still write to its memory";
    EXPECT_EQ(loop_->until_deadline(), std::nullopt) << "all that is under way was told of";
    disk_->finish(0);
    EXPECT_EQ(status_of(tag), IoStatus::Ok);
    EXPECT_EQ(memory(0)[0], std::byte{'x'});
    EXPECT_EQ(queue_->statistics().late, 1U);
}

TEST_F(RequestQueueTest, ARequestInTimeIsNotLate) {
    make({}, std::chrono::milliseconds(20));
    read(0, 0);
    queue_->submit();
    EXPECT_FALSE(queue_->poll());
    disk_->finish(0);
    while (loop_->until_deadline()) {
        ASSERT_TRUE(loop_->run_once(std::chrono::seconds(20)).has_value());
    }
    EXPECT_TRUE(late_.empty());
}

TEST_F(RequestQueueTest, ADiskThatIsDoneAtOnceNeedsNoTimer) {
    disk_->is_instant = true;
    read(0, 0);
    do {
        queue_->submit();
    } while (queue_->poll());
    EXPECT_EQ(told_.size(), 1U);
    EXPECT_EQ(loop_->until_deadline(), std::nullopt);
}

TEST_F(RequestQueueTest, ATagIsUsedOnceAtATime) {
    const Tag tag = read(0, 0);
    EXPECT_DEATH(queue_->start(tag, {.operation = IoOperation::Flush, .segments = {}}), "Idle");
    EXPECT_DEATH(queue_->start(63, {.operation = IoOperation::Flush, .segments = {}}), "is_taken");
}

// --- whatever is merged, results are those of a disk that does one request after the other

class RequestQueueModelTest : public RequestQueueTest {
protected:
    struct Expected {
        Tag tag;
        IoOperation operation;
        std::uint64_t sector;
        std::size_t index;
        std::size_t sectors;
    };

    bool is_bad(std::uint64_t sector, std::uint64_t count) const {
        const auto found = bad_.lower_bound(sector);
        return found != bad_.end() && *found < sector + count;
    }
    // A run of requests that touch no sector twice: what is under way together is not ordered.
    std::vector<Expected> ask_round() {
        std::vector<Expected> asked;
        std::uint64_t sector = random_() % 32;
        for (std::size_t i = 0; i < 24; ++i) {
            sector += random_() % 4 == 0 ? 1U : 0U;
            const std::size_t sectors = 1 + random_() % 4;
            const auto operation = static_cast<IoOperation>(
                random_() % 8 == 0 ? random_() % 5
                                   : (random_() % 16 != 0 ? asked.size() / 8 % 2 : 1));
            std::ranges::generate(memory(i, sectors),
                                  [this] { return static_cast<std::byte>(random_()); });
            const bool is_forced = random_() % 8 == 0;
            const BlockDevice::Segment segment = memory(i, sectors);
            const std::span<const BlockDevice::Segment> segments(&segment, 1);
            asked.push_back({.tag = start({.operation = operation,
                                           .first = Sectors(sector),
                                           .count = Sectors(sectors),
                                           .segments = segments,
                                           .is_forced = is_forced}),
                             .operation = operation,
                             .sector = sector,
                             .index = i,
                             .sectors = sectors});
            sector += sectors;
        }
        return asked;
    }
    void finish_in_any_order() {
        queue_->submit();
        while (!disk_->waiting.empty()) {
            const std::size_t index = random_() % disk_->waiting.size();
            const FakeBlockDevice::Asked& asked = disk_->waiting[index];
            const bool fails = is_bad(asked.first.value(), asked.length / kSector);
            disk_->finish(index, fails ? IoStatus::Failed : IoStatus::Ok);
        }
    }
    void expect(const Expected& one) {
        const std::span<std::byte> there =
            std::span(model_).subspan(one.sector * kSector, one.sectors * kSector);
        const bool fails = one.operation != IoOperation::Flush && is_bad(one.sector, one.sectors);
        ASSERT_EQ(status_of(one.tag), fails ? IoStatus::Failed : IoStatus::Ok);
        if (fails) {
            return;
        }
        switch (one.operation) {
            case IoOperation::Read:
                EXPECT_TRUE(std::ranges::equal(there, memory(one.index, one.sectors)));
                break;
            case IoOperation::Write:
                std::ranges::copy(memory(one.index, one.sectors), there.begin());
                break;
            case IoOperation::Discard:
            case IoOperation::WriteZeroes:
                std::ranges::fill(there, std::byte{0});
                break;
            case IoOperation::Flush:
                break;
        }
    }

    std::mt19937_64 random_{20261123};
    std::set<std::uint64_t> bad_{17, 50, 51, 90};
    std::vector<std::byte> model_ = std::vector<std::byte>(256 * kSector);
};

TEST_F(RequestQueueModelTest, RandomRequestsHaveTheResultsOfUnmergedOnes) {
    for (int round = 0; round < 2000 && !HasFailure(); ++round) {
        told_.clear();
        const std::vector<Expected> asked = ask_round();
        finish_in_any_order();
        ASSERT_EQ(told_.size(), asked.size());
        std::ranges::for_each(asked, [this](const Expected& one) { expect(one); });
    }
    EXPECT_EQ(disk_->bytes, model_);
    EXPECT_GT(queue_->statistics().merged, 1000U);
    EXPECT_GT(queue_->statistics().flushes_shared, 100U);
}

}  // namespace
}  // namespace pepita::storage
