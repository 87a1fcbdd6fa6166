#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram/layout.h"
#include "storage/zram_store.h"
#include "test/support/sanitizer.h"

// What a store is opened from that was killed at a bad moment.

namespace pepita::storage::zram {
namespace {

using Page = std::array<std::byte, 4096>;

Fd memory_file() { return Fd(::memfd_create("store", MFD_CLOEXEC)); }

/// Packs to about `size` bytes.
Page packable(std::uint64_t seed, std::size_t size) {
    std::mt19937_64 random(seed);
    Page page{};
    for (std::size_t at = 0; at < size; at += 8) {
        const std::uint64_t word = random();
        std::memcpy(&page[at], &word, 8);
    }
    return page;
}

Page read(const ZramVolume& volume, std::uint64_t page) {
    Page got{};
    EXPECT_EQ(volume.read(Pages(page), got), IoStatus::Ok);
    return got;
}

/// The first frame of a kind.
std::uint64_t find_frame(FdRef file, FrameKind kind) {
    struct stat status{};
    EXPECT_EQ(::fstat(file.number(), &status), 0);
    for (std::uint64_t at = 0; at < static_cast<std::uint64_t>(status.st_size); at += kFrameBytes) {
        FrameKind its{};
        EXPECT_EQ(::pread(file.number(), &its, sizeof(its), static_cast<off_t>(at)),
                  static_cast<ssize_t>(sizeof(its)));
        if (its == kind) {
            return at;
        }
    }
    ADD_FAILURE() << "no such frame";
    return 0;
}

/// Opens a full store anew, of contents that pack to about `size` bytes.
void open_full(Bytes limit, std::size_t size) {
    SCOPED_TRACE("limit of " + std::to_string(limit.value()));
    const Fd file = memory_file();
    std::uint64_t written = 0;
    Bytes used;
    {
        const auto store = *ZramStore::create(*duplicate(file.ref()), limit);
        const auto volume = *store->create_volume({.name = "a", .capacity = Pages(100'000)});
        while (volume->write(Pages(written), packable(written, size)) == IoStatus::Ok) {
            ++written;
        }
        used = store->use().used;
    }
    ASSERT_GT(written, 100U);
    auto store = ZramStore::open(*duplicate(file.ref()));
    ASSERT_TRUE(store.has_value()) << store.error().message();
    EXPECT_LE((*store)->use().used, used);
    const auto volume = *(*store)->find("a");
    EXPECT_EQ(volume->statistics().stored, written);
    for (std::uint64_t page = 0; page < written; page += 7) {
        ASSERT_EQ(read(*volume, page), packable(page, size));
    }
}

// When the indexes grow, beside what they were before, depends on how much there is.
TEST(ZramRecovery, AFullStoreIsOpenedWithAllThatItHas) {
    for (std::uint64_t kib = 1024; kib < 2048; kib += kIsSanitized ? 512 : 64) {
        ASSERT_NO_FATAL_FAILURE(open_full(Bytes(kib << 10U), 24));
    }
    open_full(1_MiB, 4096);
    open_full(2_MiB, 1000);
}

TEST(ZramRecovery, AVolumeThatWasBeingCutIsCut) {
    const Fd file = memory_file();
    Bytes expected;
    {
        const auto store = *ZramStore::create(*duplicate(file.ref()), 8_MiB);
        const auto volume = *store->create_volume({.name = "a", .capacity = Pages(20'000)});
        for (const std::uint64_t page : {1U, 99U, 100U, 101U, 19'999U}) {
            ASSERT_EQ(volume->write(Pages(page), packable(page, 1000)), IoStatus::Ok);
        }
        ASSERT_EQ(volume->write_zeroes(Pages(4000), Pages(10)), IoStatus::Ok);
        expected = store->use().sharing.payload;
    }
    // Killed when the new capacity stood there, and before anything was discarded.
    const std::uint64_t capacity = 100;
    ASSERT_EQ(::pwrite(file.ref().number(), &capacity, sizeof(capacity),
                       static_cast<off_t>(find_frame(file.ref(), FrameKind::Volume) +
                                          offsetof(VolumeFrame, capacity))),
              static_cast<ssize_t>(sizeof(capacity)));
    auto store = ZramStore::open(*duplicate(file.ref()));
    ASSERT_TRUE(store.has_value()) << store.error().message();
    const auto volume = *(*store)->find("a");
    EXPECT_EQ(volume->capacity(), Pages(100));
    EXPECT_EQ(volume->statistics().stored, 2U);
    EXPECT_EQ(read(*volume, 99), packable(99, 1000));
    EXPECT_EQ((*store)->use().sharing.objects, 2U);
    ASSERT_TRUE(volume->resize(Pages(20'000)).has_value());
    EXPECT_EQ(read(*volume, 100), Page{});
    EXPECT_FALSE(volume->contains(Pages(19'999)));
    ASSERT_TRUE((*store)->remove("a").has_value());
    EXPECT_EQ((*store)->use().sharing, ZramSharing{});
}

TEST(ZramRecovery, WhatIsCutOffCostsNothingBeforeAndAfter) {
    const Fd file = memory_file();
    const auto blocks = [&] {
        struct stat status{};
        EXPECT_EQ(::fstat(file.ref().number(), &status), 0);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    };
    auto store = *ZramStore::create(*duplicate(file.ref()), 8_MiB);
    {
        const auto volume =
            *store->create_volume({.name = "a", .capacity = ZramVolume::kCapacityMax});
        for (std::uint64_t page = 0; page < ZramVolume::kCapacityMax.value(); page += 1'000'000) {
            ASSERT_EQ(volume->write(Pages(page), packable(page, 1000)), IoStatus::Ok);
        }
        ASSERT_TRUE(volume->resize(Pages(1)).has_value());
        EXPECT_LE(blocks(), store->use().used.value());
    }
    // Superblock, volume, page table, object, slot; and what an object that went left in a page
    // that is not all free, until its frame is packed anew or opened.
    EXPECT_LE(blocks(), 6 * 4096U);
    store.reset();
    store = *ZramStore::open(*duplicate(file.ref()));
    EXPECT_LE(blocks(), 5 * 4096U);
}

}  // namespace
}  // namespace pepita::storage::zram
