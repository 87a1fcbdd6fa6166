#include "storage/concatenation.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
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
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/file_ring.h"
#include "test/support/fake_block_device.h"

namespace pepita::storage {
namespace {

using test::FakeBlockDevice;

/// Three parts of 3, 1 and 5 sectors.
class ConcatenationTest : public testing::Test {
protected:
    void SetUp() override {
        std::mt19937 random(1);
        std::vector<std::unique_ptr<BlockDevice>> parts;
        for (const std::uint64_t sectors : {3U, 1U, 5U}) {
            auto part = std::make_unique<FakeBlockDevice>(Sectors(sectors), Access::ReadOnly, 8);
            std::ranges::generate(part->bytes, [&] { return static_cast<std::byte>(random()); });
            all_.insert(all_.end(), part->bytes.begin(), part->bytes.end());
            fakes_.push_back(part.get());
            parts.push_back(std::move(part));
        }
        device_ = std::make_unique<ConcatenationDevice>(std::move(parts), nullptr);
        device_->set_listener([this](std::span<const IoCompletion> done) {
            for (const IoCompletion& one : done) {
                done_[one.tag] = one.status;
            }
        });
    }
    IoStatus drained(std::uint64_t tag) {
        device_->submit();
        device_->drain();
        EXPECT_TRUE(done_.contains(tag));
        return done_[tag];
    }

    std::vector<std::byte> all_;
    std::vector<FakeBlockDevice*> fakes_;
    std::unique_ptr<ConcatenationDevice> device_;
    std::map<std::uint64_t, IoStatus> done_;
};

TEST_F(ConcatenationTest, IsAsLargeAsItsPartsAndReadOnly) {
    EXPECT_EQ(device_->capacity(), Sectors(9));
    EXPECT_EQ(device_->access(), Access::ReadOnly);
    EXPECT_EQ(device_->depth(), 8U);
}

TEST_F(ConcatenationTest, ReadsAcrossAllPartsIntoAnySegments) {
    std::vector<std::byte> a(700);
    std::vector<std::byte> b(9 * 512 - 700);
    const std::array<BlockDevice::Segment, 2> segments{a, b};
    device_->read(Sectors(0), segments, 7);
    ASSERT_EQ(drained(7), IoStatus::Ok);
    a.insert(a.end(), b.begin(), b.end());
    EXPECT_EQ(a, all_);
}

TEST_F(ConcatenationTest, ReadsEachRangeFromTheRightPart) {
    for (std::uint64_t first = 0; first < 9; ++first) {
        for (std::uint64_t count = 1; first + count <= 9; ++count) {
            std::vector<std::byte> bytes(count * 512);
            const std::array<BlockDevice::Segment, 1> segments{bytes};
            device_->read(Sectors(first), segments, 1);
            ASSERT_EQ(drained(1), IoStatus::Ok);
            EXPECT_TRUE(
                std::ranges::equal(bytes, std::span(all_).subspan(first * 512, count * 512)));
        }
    }
}

TEST_F(ConcatenationTest, IsDoneOnlyWithTheLastPiece) {
    std::vector<std::byte> bytes(4 * 512);
    const std::array<BlockDevice::Segment, 1> segments{bytes};
    device_->read(Sectors(0), segments, 5);
    device_->submit();
    fakes_[1]->finish(0);
    EXPECT_FALSE(done_.contains(5));
    fakes_[0]->finish(0, IoStatus::Failed);
    EXPECT_EQ(done_.at(5), IoStatus::Failed);
}

TEST_F(ConcatenationTest, RefusesWhatLiesBehindItsEndAndAllWrites) {
    std::vector<std::byte> bytes(512);
    const std::array<BlockDevice::Segment, 1> segments{bytes};
    device_->read(Sectors(9), segments, 1);
    EXPECT_EQ(drained(1), IoStatus::Failed);
    device_->write(Sectors(0), segments, 2);
    EXPECT_EQ(drained(2), IoStatus::Failed);
    device_->discard(Sectors(0), Sectors(1), 3);
    EXPECT_EQ(drained(3), IoStatus::Failed);
    device_->write_zeroes(Sectors(0), Sectors(1), 4);
    EXPECT_EQ(drained(4), IoStatus::Failed);
    device_->flush(5);
    EXPECT_EQ(drained(5), IoStatus::Ok);
}

/// So many bytes of `value`.
Fd file_of(std::size_t size, std::byte value) {
    Fd file(::memfd_create("part", MFD_CLOEXEC));
    EXPECT_TRUE(write_all(file.ref(), std::vector<std::byte>(size, value), "part"));
    return file;
}

TEST(ConcatenateFiles, DisksOfFilesShareARing) {
    const auto loop = *EventLoop::create();
    const auto ring = *FileRing::create(*loop);
    const auto disk_of = [&](std::byte value) {
        std::vector<Fd> files;
        files.push_back(file_of(512, value));
        files.push_back(file_of(0, value));
        files.push_back(file_of(1024, value));
        return *concatenate_files(std::move(files), *ring);
    };
    for (const std::byte value : {std::byte{1}, std::byte{2}}) {
        const auto other = disk_of(std::byte{9});
        const auto disk = disk_of(value);
        EXPECT_EQ(disk->capacity(), Sectors(3));
        std::vector<std::byte> bytes(3 * 512);
        const std::array<BlockDevice::Segment, 1> segments{bytes};
        disk->set_listener([](auto done) { EXPECT_EQ(done.front().status, IoStatus::Ok); });
        disk->read(Sectors(0), segments, 0);
        disk->drain();
        EXPECT_EQ(bytes, std::vector<std::byte>(3 * 512, value));
    }
    EXPECT_FALSE(concatenate_files({}, *ring));
}

TEST(ConcatenationDisk, IsItsFilesWithoutTheEmptyOnes) {
    std::vector<Fd> files;
    files.push_back(file_of(4096, std::byte{1}));
    files.push_back(file_of(0, std::byte{0}));
    files.push_back(file_of(8192, std::byte{2}));
    const auto disk = concatenation_disk(std::move(files));
    ASSERT_TRUE(disk);
    EXPECT_EQ((*disk)->capacity(), Sectors(24));
    const auto loop = *EventLoop::create();
    const auto device = *(*disk)->open(*loop);
    std::vector<std::byte> bytes(2 * 512);
    const std::array<BlockDevice::Segment, 1> segments{bytes};
    device->set_listener([](auto done) { EXPECT_EQ(done.front().status, IoStatus::Ok); });
    device->read(Sectors(7), segments, 0);
    device->drain();
    EXPECT_EQ(bytes.front(), std::byte{1});
    EXPECT_EQ(bytes.back(), std::byte{2});
    EXPECT_FALSE(concatenation_disk({}));
}

}  // namespace
}  // namespace pepita::storage
