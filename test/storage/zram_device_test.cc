#include "storage/zram_device.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

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

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_store.h"
#include "test/support/fake_zram_volume.h"

namespace pepita::storage {
namespace {

TEST(ZramDevice, X6_TheStoreNeverWritesToMemoryThatIsLent) {
    const auto volume = std::make_shared<test::FakeZramVolume>(Pages(16));
    volume->pages[3].fill(std::byte{3});
    volume->pages[4].fill(std::byte{4});
    ZramDevice device(volume);
    std::vector<std::byte> lent(3 * 4096, std::byte{9});
    const std::array<BlockDevice::Segment, 2> into{std::span(lent).first(4096),
                                                   std::span(lent).subspan(4096, 4608)};
    device.read(Sectors(3 * 8), into, 1);
    EXPECT_TRUE(device.poll());
    EXPECT_EQ(volume->read_into.size(), 3U);
    for (const std::byte* const place : volume->read_into) {
        EXPECT_TRUE(place < lent.data() || place >= lent.data() + lent.size());
    }
    EXPECT_EQ(std::ranges::count(lent, std::byte{3}), 4096);
    EXPECT_EQ(std::ranges::count(lent, std::byte{4}), 4096);
    EXPECT_EQ(std::ranges::count(lent, std::byte{0}), 512);
}

class ZramDeviceTest : public testing::Test {
protected:
    void open(Pages capacity, Bytes limit = 64_MiB, Access access = Access::ReadWrite) {
        store_ = *ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), limit);
        volume_ = *store_->create_volume({.name = "disk", .capacity = capacity});
        device_ = std::make_unique<ZramDevice>(volume_, access);
        device_->set_listener([this](std::span<const IoCompletion> done) {
            for (const IoCompletion& one : done) {
                done_[one.tag] = one.status;
            }
        });
    }
    /// What the request before came to; it is told at poll(), and not before.
    IoStatus told() {
        device_->submit();
        EXPECT_TRUE(done_.empty());
        EXPECT_TRUE(device_->poll());
        EXPECT_FALSE(device_->poll());
        EXPECT_EQ(done_.size(), 1U);
        const IoStatus status = done_.begin()->second;
        done_.clear();
        return status;
    }
    IoStatus write(std::size_t sector, std::span<std::byte> bytes) {
        device_->write(Sectors(sector), {&bytes, 1}, 7);
        return told();
    }
    IoStatus read(std::size_t sector, std::span<std::byte> bytes) {
        device_->read(Sectors(sector), {&bytes, 1}, 7);
        return told();
    }

    std::shared_ptr<ZramStore> store_;
    std::shared_ptr<ZramVolume> volume_;
    std::unique_ptr<ZramDevice> device_;
    std::map<std::uint64_t, IoStatus> done_;
};

std::vector<std::byte> noise(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::byte> bytes(size);
    std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
    return bytes;
}

TEST_F(ZramDeviceTest, AgreesWithAModelWhateverTheSegments) {
    open(Pages(64));
    std::vector<std::byte> model(64 * 4096);
    std::mt19937 random(3);
    for (int i = 0; i < 3'000; ++i) {
        const std::size_t from = random() % (model.size() / 512);
        const std::size_t length =
            std::min<std::size_t>((1 + random() % 30) * 512, model.size() - from * 512);
        const auto here = std::span(model).subspan(from * 512, length);
        std::vector<std::byte> bytes = noise(length, static_cast<unsigned>(i));
        std::vector<BlockDevice::Segment> segments;
        for (std::size_t at = 0; at < length;) {
            const std::size_t piece = std::min<std::size_t>(random() % 5000, length - at);
            segments.push_back(std::span(bytes).subspan(at, piece));
            at += piece;
        }
        switch (random() % 5) {
            case 0:
            case 1:
                device_->write(Sectors(from), segments, 1);
                ASSERT_EQ(told(), IoStatus::Ok);
                std::ranges::copy(bytes, here.begin());
                break;
            case 2:
                device_->discard(Sectors(from), Sectors(length / 512), 1);
                ASSERT_EQ(told(), IoStatus::Ok);
                std::ranges::fill(here, std::byte{0});
                break;
            case 3:
                device_->write_zeroes(Sectors(from), Sectors(length / 512), 1);
                ASSERT_EQ(told(), IoStatus::Ok);
                std::ranges::fill(here, std::byte{0});
                break;
            default:
                device_->read(Sectors(from), segments, 1);
                ASSERT_EQ(told(), IoStatus::Ok);
                ASSERT_TRUE(std::ranges::equal(bytes, here)) << i;
        }
    }
}

TEST_F(ZramDeviceTest, DiscardGivesMemoryBack) {
    open(Pages(256));
    const Bytes before = store_->use().used;
    std::vector<std::byte> bytes = noise(1U << 20U, 1);
    ASSERT_EQ(write(0, bytes), IoStatus::Ok);
    EXPECT_GT(store_->use().used.value(), 1U << 20U);
    device_->discard(Sectors(0), Sectors(2048), 1);
    ASSERT_EQ(told(), IoStatus::Ok);
    EXPECT_EQ(store_->use().used, before);
}

TEST_F(ZramDeviceTest, RefusesWhatIsNotOnTheDisk) {
    open(Pages(4));
    std::vector<std::byte> bytes(8192);
    EXPECT_EQ(read(31, bytes), IoStatus::Failed);
    EXPECT_EQ(write(~0ULL, bytes), IoStatus::Failed);
    EXPECT_EQ(read(0, std::span(bytes).first(100)), IoStatus::Failed);
    EXPECT_EQ(read(0, {}), IoStatus::Failed);
    device_->discard(Sectors(32), Sectors(1), 1);
    EXPECT_EQ(told(), IoStatus::Failed);
    device_->write_zeroes(Sectors(0), Sectors(0), 1);
    EXPECT_EQ(told(), IoStatus::Failed);
}

TEST_F(ZramDeviceTest, NobodyWritesOneThatIsReadOnly) {
    open(Pages(4), 64_MiB, Access::ReadOnly);
    std::vector<std::byte> bytes(512);
    EXPECT_EQ(write(0, bytes), IoStatus::Failed);
    device_->discard(Sectors(0), Sectors(1), 1);
    EXPECT_EQ(told(), IoStatus::Failed);
    EXPECT_EQ(read(0, bytes), IoStatus::Ok);
}

TEST_F(ZramDeviceTest, AFullStoreSaysSo) {
    open(Pages(4096), 2_MiB);
    std::vector<std::byte> bytes = noise(4U << 20U, 5);
    EXPECT_EQ(write(0, bytes), IoStatus::NoSpace);
    device_->flush(1);
    EXPECT_EQ(told(), IoStatus::Ok);
}

TEST_F(ZramDeviceTest, CopiesAFileThatIsMostlyHoles) {
    open(Pages(256));
    const Fd file(::memfd_create("file", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.ref().number(), 256 * 4096), 0);
    std::vector<std::byte> bytes = noise(5000, 6);
    ASSERT_EQ(::pwrite(file.ref().number(), bytes.data(), bytes.size(), 100 * 4096), 5000);
    ASSERT_TRUE(copy_into(*volume_, file.ref()).has_value());
    EXPECT_EQ(volume_->statistics().stored, 2U);
    std::vector<std::byte> got(8192);
    ASSERT_EQ(read(800, got), IoStatus::Ok);
    EXPECT_TRUE(std::ranges::equal(std::span(got).first(5000), bytes));
    ASSERT_EQ(::ftruncate(file.ref().number(), 257 * 4096), 0);
    EXPECT_EQ(copy_into(*volume_, file.ref()).error().code(), Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita::storage
