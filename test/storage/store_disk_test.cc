#include "storage/store_disk.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "test/support/sanitizer.h"

namespace pepita::storage {
namespace {

constexpr std::size_t kPage = kPageSize.value();

Fd file_of(std::uint64_t size) {
    Fd file(::memfd_create("base", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(file.ref().number(), static_cast<off_t>(size)), 0);
    return file;
}

class StoreDiskTest : public testing::Test {
protected:
    void open(Bytes size, Fd base) {
        auto disk = make_store_disk(size, std::move(base));
        ASSERT_TRUE(disk.has_value()) << disk.error().message();
        disk_ = *std::move(disk);
        disk_->set_listener([this](std::span<const storage::IoCompletion> done) {
            failed_ += std::ranges::count_if(
                done, [](const auto& one) { return one.status != storage::IoStatus::Ok; });
        });
    }
    void write(std::uint64_t page, std::span<std::byte> bytes) {
        const std::array<storage::BlockDevice::Segment, 1> from{bytes};
        disk_->write(Sectors(page * 8), from, page);
        disk_->drain();
    }
    std::vector<std::byte> read(std::uint64_t page) {
        std::vector<std::byte> bytes(kPage);
        const std::array<storage::BlockDevice::Segment, 1> into{std::span(bytes)};
        disk_->read(Sectors(page * 8), into, page);
        disk_->drain();
        return bytes;
    }

    std::unique_ptr<storage::BlockDevice> disk_;
    std::ptrdiff_t failed_ = 0;
};

TEST_F(StoreDiskTest, BeginsAsItsBaseAndLeavesThatAsItIs) {
    Fd base = file_of(1 << 20U);
    std::vector<std::byte> bytes(kPage, std::byte{'b'});
    ASSERT_EQ(::pwrite(base.ref().number(), bytes.data(), kPage, 8 * kPage),
              static_cast<ssize_t>(kPage));
    const Fd kept = *duplicate(base.ref());
    open(2_MiB, std::move(base));
    EXPECT_EQ(disk_->capacity(), Sectors(4096));
    EXPECT_EQ(read(8), bytes);
    EXPECT_EQ(read(9), std::vector<std::byte>(kPage));
    EXPECT_EQ(read(511), std::vector<std::byte>(kPage)) << "behind its end";
    std::vector<std::byte> other(kPage, std::byte{'o'});
    write(8, other);
    EXPECT_EQ(read(8), other);
    char byte = 0;
    EXPECT_EQ(::pread(kept.ref().number(), &byte, 1, 8 * kPage), 1);
    EXPECT_EQ(byte, 'b');
    EXPECT_EQ(failed_, 0);
}

TEST_F(StoreDiskTest, ABaseThatIsTooLongIsRefused) {
    const auto disk = make_store_disk(1_MiB, file_of((1U << 20U) + 512));
    ASSERT_FALSE(disk.has_value());
    EXPECT_EQ(disk.error().code(), Code::InvalidArgument);
}

// The worst there is: nothing packs, nothing repeats, sizes of what is there change all the time,
// and the disk is full.
TEST_F(StoreDiskTest, CanAlwaysBeFilledWhateverIsWritten) {
    for (const Bytes size : kIsSanitized ? std::vector{4_MiB} : std::vector{16_MiB, 64_MiB}) {
        open(size, file_of(0));
        const std::uint64_t pages = size.value() / kPage;
        std::mt19937_64 random(size.value());
        std::vector<std::byte> bytes(kPage);
        const auto fill = [&](std::size_t noisy) {
            std::ranges::fill(bytes, std::byte{0});
            std::ranges::generate(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(noisy),
                                  [&] { return static_cast<std::byte>(random() >> 56U); });
        };
        for (int round = 0; round < 4; ++round) {
            for (std::uint64_t i = 0; i < pages; ++i) {
                // In order and raw; anywhere and of any size; raw again.
                fill(round % 2 == 0 ? kPage : random() % kPage);
                write(round % 2 == 0 ? i : random() % pages, bytes);
                ASSERT_EQ(failed_, 0) << "round " << round << ", page " << i;
            }
        }
    }
}

}  // namespace
}  // namespace pepita::storage
