#include "storage/overlay_device.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "storage/zram_store.h"
#include "test/support/fake_block_device.h"

namespace pepita::storage {
namespace {

using test::FakeBlockDevice;

/// A base of 19 pages and 3 sectors under a disk of 32 pages.
class OverlayTest : public testing::Test {
protected:
    static constexpr std::size_t kBase = 19 * 4096 + 3 * 512;
    static constexpr std::size_t kDisk = 32 * 4096;

    void SetUp() override {
        auto base = std::make_unique<FakeBlockDevice>(Sectors(kBase / 512), Access::ReadOnly, 8);
        std::mt19937 random(1);
        std::ranges::generate(base->bytes, [&] { return static_cast<std::byte>(random()); });
        base_ = base.get();
        model_.assign(kDisk, std::byte{0});
        std::ranges::copy(base->bytes, model_.begin());
        store_ = *ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 8_MiB);
        volume_ = *store_->create_volume({.name = "upper", .capacity = Pages(32)});
        device_ = std::make_unique<OverlayDevice>(*loop_, std::move(base), volume_);
        device_->set_listener([this](std::span<const IoCompletion> done) {
            for (const IoCompletion& one : done) {
                done_[one.tag] = one.status;
            }
        });
    }

    IoStatus wait(std::uint64_t tag) {
        device_->submit();
        device_->drain();
        EXPECT_TRUE(done_.contains(tag));
        return done_[tag];
    }
    std::vector<std::byte> read(std::size_t from, std::size_t length) {
        std::vector<std::byte> got(length, std::byte{0xee});
        const std::size_t half = length / 2;
        const std::vector<BlockDevice::Segment> pieces{
            std::span(got).first(half), {}, std::span(got).subspan(half)};
        device_->read(Sectors(from / 512), pieces, ++tag_);
        EXPECT_EQ(wait(tag_), IoStatus::Ok);
        return got;
    }
    void write(std::size_t from, std::vector<std::byte> bytes) {
        const BlockDevice::Segment segment = bytes;
        device_->write(Sectors(from / 512), {&segment, 1}, ++tag_);
        EXPECT_EQ(wait(tag_), IoStatus::Ok);
        std::ranges::copy(bytes, model_.begin() + static_cast<std::ptrdiff_t>(from));
    }
    std::vector<std::byte> model(std::size_t from, std::size_t length) const {
        return {model_.begin() + static_cast<std::ptrdiff_t>(from),
                model_.begin() + static_cast<std::ptrdiff_t>(from + length)};
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    FakeBlockDevice* base_ = nullptr;
    std::shared_ptr<ZramStore> store_;
    std::shared_ptr<ZramVolume> volume_;
    std::vector<std::byte> model_;
    std::map<std::uint64_t, IoStatus> done_;
    std::uint64_t tag_ = 0;
    std::unique_ptr<OverlayDevice> device_;
};

TEST_F(OverlayTest, ShowsTheBaseAndZerosBehindIt) { EXPECT_EQ(read(0, kDisk), model(0, kDisk)); }

TEST_F(OverlayTest, APartTakesTheRestOfItsPageAlong) {
    write(5 * 4096 + 512, std::vector<std::byte>(1024, std::byte{1}));
    write(19 * 4096 + 512, std::vector<std::byte>(512, std::byte{2}));  // the base ends in it
    write(25 * 4096 + 512, std::vector<std::byte>(512, std::byte{3}));  // behind the base
    EXPECT_EQ(read(0, kDisk), model(0, kDisk));
    EXPECT_EQ(volume_->statistics().stored, 3U);
}

TEST_F(OverlayTest, WholePagesDoNotAskTheBase) {
    std::vector<std::byte> bytes(2 * 4096, std::byte{4});
    const BlockDevice::Segment segment = bytes;
    device_->write(Sectors(8), {&segment, 1}, 1);
    EXPECT_TRUE(base_->waiting.empty());
    EXPECT_TRUE(device_->poll());
    EXPECT_EQ(done_[1], IoStatus::Ok);
}

TEST_F(OverlayTest, TwoPartsOfOnePageInFlightAreBothKept) {
    std::vector<std::byte> one(512, std::byte{1});
    std::vector<std::byte> two(512, std::byte{2});
    const BlockDevice::Segment first = one;
    const BlockDevice::Segment second = two;
    device_->write(Sectors(16), {&first, 1}, 1);
    device_->write(Sectors(18), {&second, 1}, 2);
    ASSERT_EQ(base_->waiting.size(), 2U);
    base_->finish(1);
    base_->finish(0);
    EXPECT_EQ(done_.size(), 2U) << "told from the base's own loop";
    std::ranges::copy(one, model_.begin() + 16 * 512);
    std::ranges::copy(two, model_.begin() + 18 * 512);
    EXPECT_EQ(read(0, kDisk), model(0, kDisk));
}

// A GiB at once would keep the thread from all else for as long.
TEST_F(OverlayTest, ALongClearIsDoneInTurnsAndOthersGoOnMeanwhile) {
    constexpr std::uint64_t turn = OverlayDevice::kClearedPerTurn.value();
    ASSERT_TRUE(volume_->resize(Pages(4 * turn)).has_value());
    device_->write_zeroes(Sectors(1), Sectors(8 * (2 * turn + 1)), 1);
    base_->finish(0);  // of the page that is cleared in part
    device_->discard(Sectors(8 * 3 * turn), Sectors(8), 2);
    EXPECT_TRUE(volume_->contains(Pages(turn)));
    EXPECT_FALSE(volume_->contains(Pages(turn + 1)));
    std::vector<std::byte> bytes(4096, std::byte{5});
    const BlockDevice::Segment segment = bytes;
    device_->write(Sectors(8 * 3 * turn + 8), {&segment, 1}, 3);
    EXPECT_TRUE(device_->poll());
    EXPECT_FALSE(device_->poll()) << "who polls until nothing is left can go back to the loop";
    EXPECT_EQ(done_, (std::map<std::uint64_t, IoStatus>{{3, IoStatus::Ok}}));
    while (loop_->until_deadline()) {
        ASSERT_TRUE(loop_->run_once(std::chrono::seconds(1)).has_value());
    }
    EXPECT_EQ(done_.size(), 3U);
    EXPECT_EQ(done_[1], IoStatus::Ok);
    EXPECT_EQ(done_[2], IoStatus::Ok);
    // The last page, cleared in part, lies behind the base; and the one that was discarded.
    EXPECT_EQ(volume_->statistics().zero, 2 * turn + 2);
}

TEST_F(OverlayTest, DrainDoesNotLeaveAClearHalfDone) {
    constexpr std::uint64_t turn = OverlayDevice::kClearedPerTurn.value();
    ASSERT_TRUE(volume_->resize(Pages(4 * turn)).has_value());
    device_->write_zeroes(Sectors(0), Sectors(8 * 3 * turn), 1);
    device_->write_zeroes(Sectors(8 * 3 * turn), Sectors(8 * turn), 2);
    EXPECT_FALSE(device_->poll());
    device_->drain();
    EXPECT_EQ(done_.size(), 2U);
    EXPECT_EQ(volume_->statistics().zero, 4 * turn);
    EXPECT_EQ(loop_->until_deadline(), std::nullopt);
}

TEST_F(OverlayTest, WhatIsDiscardedDoesNotShowTheBaseAgain) {
    device_->discard(Sectors(3), Sectors(30), ++tag_);
    EXPECT_EQ(wait(tag_), IoStatus::Ok);
    std::fill_n(model_.begin() + 3 * 512, 30 * 512, std::byte{0});
    EXPECT_EQ(read(0, kDisk), model(0, kDisk));
}

TEST_F(OverlayTest, TheBasesErrorIsTheRequests) {
    std::vector<std::byte> bytes(512);
    const BlockDevice::Segment segment = bytes;
    device_->write(Sectors(1), {&segment, 1}, 1);
    device_->read(Sectors(8), {&segment, 1}, 2);
    base_->finish(0, IoStatus::Failed);
    base_->finish(0, IoStatus::Failed);
    EXPECT_EQ(done_[1], IoStatus::Failed);
    EXPECT_EQ(done_[2], IoStatus::Failed);
    EXPECT_EQ(volume_->statistics().stored, 0U);
}

TEST_F(OverlayTest, NothingOutsideOfTheDisk) {
    std::vector<std::byte> bytes(1024);
    const BlockDevice::Segment segment = bytes;
    device_->read(Sectors(kDisk / 512 - 1), {&segment, 1}, 1);
    device_->write(Sectors(~0ULL), {&segment, 1}, 2);
    device_->discard(Sectors(0), Sectors(kDisk / 512 + 1), 3);
    device_->read(Sectors(0), {}, 4);
    EXPECT_TRUE(device_->poll());
    EXPECT_EQ(done_, (std::map<std::uint64_t, IoStatus>{{1, IoStatus::Failed},
                                                        {2, IoStatus::Failed},
                                                        {3, IoStatus::Failed},
                                                        {4, IoStatus::Failed}}));
}

TEST_F(OverlayTest, AgreesWithAModel) {
    std::mt19937 random(9);
    for (int i = 0; i < 2'000; ++i) {
        const std::size_t from = random() % (kDisk / 512) * 512;
        const std::size_t length = std::min<std::size_t>((1 + random() % 40) * 512, kDisk - from);
        switch (random() % 6) {
            case 0:
                device_->write_zeroes(Sectors(from / 512), Sectors(length / 512), ++tag_);
                ASSERT_EQ(wait(tag_), IoStatus::Ok);
                std::fill_n(model_.begin() + static_cast<std::ptrdiff_t>(from), length,
                            std::byte{0});
                break;
            case 1:
                write(from, std::vector<std::byte>(length, static_cast<std::byte>(random())));
                break;
            case 2:  // as if it were new
                if (random() % 20 == 0) {
                    ASSERT_EQ(volume_->discard(Pages(0), Pages(32)), IoStatus::Ok);
                    std::ranges::fill(model_, std::byte{0});
                    std::ranges::copy(base_->bytes, model_.begin());
                }
                break;
            default:
                ASSERT_EQ(read(from, length), model(from, length)) << i;
        }
    }
}

// The first piece comes from a worker thread, through the loop; the last one at once, when nobody
// asks the disk for what is done.
TEST_F(OverlayTest, ABaseThatIsDoneAtOnceIsAskedWhereNobodyElseDoes) {
    constexpr std::size_t size = 256U << 10U;
    constexpr std::uint64_t written = 50;  // of its pages
    Fd file(::memfd_create("base", MFD_CLOEXEC));
    const std::vector<std::byte> content(size, std::byte{'b'});
    ASSERT_EQ(::pwrite(file.ref().number(), content.data(), size, 0), ssize_t{size});
    const auto upper = *store_->create_volume({.name = "other", .capacity = Pages(size / 4096)});
    ASSERT_EQ(upper->write(Pages(written), std::vector(4096, std::byte{'u'})), IoStatus::Ok);
    OverlayDevice device(*loop_, *FileDevice::create(std::move(file), Access::ReadOnly, *loop_),
                         upper);
    std::vector<IoCompletion> done;
    device.set_listener([&](std::span<const IoCompletion> told) {
        done.insert(done.end(), told.begin(), told.end());
    });
    std::vector<std::byte> got(size);
    const BlockDevice::Segment all = got;
    device.read(Sectors(0), {&all, 1}, 7);
    device.submit();
    while (device.poll()) {}
    const auto deadline = EventLoop::Clock::now() + std::chrono::seconds(20);
    while (done.empty() && EventLoop::Clock::now() < deadline) {
        ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(100)).has_value());
    }
    ASSERT_EQ(done, (std::vector{IoCompletion{.tag = 7, .status = IoStatus::Ok}}));
    std::vector<std::byte> expected = content;
    std::fill_n(expected.begin() + written * 4096, 4096, std::byte{'u'});
    EXPECT_TRUE(got == expected);
}

}  // namespace
}  // namespace pepita::storage
