#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_store.h"
#include "test/support/small_tmpfs.h"

namespace pepita::storage::zram {
namespace {

using Page = std::array<std::byte, 4096>;

/// Noise at its begin, then zeros: packs to about `size` bytes.
Page packable(std::uint64_t seed, std::size_t size = 1000) {
    std::mt19937_64 random(seed);
    Page page{};
    for (std::size_t at = 0; at < size; at += 8) {
        const std::uint64_t word = random();
        std::memcpy(&page[at], &word, std::min<std::size_t>(8, page.size() - at));
    }
    return page;
}

Page read(const ZramVolume& volume, std::uint64_t page) {
    Page got{};
    EXPECT_EQ(volume.read(Pages(page), got), IoStatus::Ok);
    return got;
}

/// Full because of its limit is one thing, and full because of the file system another.
TEST(ZramMemoryFile, S1_AFullFileSystemIsNoSpaceAndOpeningTakesNothing) {
    const Fd file = pepita::test::file_in_small_tmpfs(2_MiB);
    if (!file) {
        GTEST_SKIP() << "no tmpfs of one's own here";
    }
    const auto blocks = [&] {
        struct stat status{};
        EXPECT_EQ(::fstat(file.ref().number(), &status), 0);
        return status.st_blocks;
    };
    std::map<std::uint64_t, std::uint64_t> written;  // seed, by page
    {
        const auto store = *ZramStore::create(*duplicate(file.ref()), 64_MiB);
        const auto volume = *store->create_volume({.name = "a", .capacity = Pages(100'000)});
        std::uint64_t seed = 0;
        for (int refused = 0; refused < 300; ++seed) {
            const std::uint64_t page = written.size() * 37;  // many page tables
            if (volume->write(Pages(page), packable(seed, 100 + seed % 4000)) == IoStatus::Ok) {
                written[page] = seed;
            } else {
                ++refused;
            }
        }
        EXPECT_GT(written.size(), 200U);
        EXPECT_EQ(volume->write_zeroes(Pages(99'000), Pages(1)), IoStatus::NoSpace);
        EXPECT_EQ(store->create_volume({.name = "b", .capacity = ZramVolume::kCapacityMax})
                      .error()
                      .code(),
                  Code::ResourceExhausted);
        for (const auto& [page, its] : written) {
            ASSERT_EQ(read(*volume, page), packable(its, 100 + its % 4000));
        }
    }
    const auto before = blocks();
    const auto store = ZramStore::open(*duplicate(file.ref()));
    ASSERT_TRUE(store.has_value()) << store.error().message();
    EXPECT_LE(blocks(), before);
    const auto volume = *(*store)->find("a");
    for (const auto& [page, its] : written) {
        ASSERT_EQ(read(*volume, page), packable(its, 100 + its % 4000));
    }
    ASSERT_EQ(volume->discard(Pages(0), Pages(100'000)), IoStatus::Ok);
    EXPECT_EQ(volume->write(Pages(5), packable(1, 4096)), IoStatus::Ok);
    EXPECT_EQ(read(*volume, 5), packable(1, 4096));
}

TEST(ZramMemoryFile, S1_AVolumeNeedsRoomInTheFileSystem) {
    Fd file = pepita::test::file_in_small_tmpfs(Bytes(4096));  // the superblock's page
    if (!file) {
        GTEST_SKIP() << "no tmpfs of one's own here";
    }
    const auto store = ZramStore::create(std::move(file), 8_MiB);
    ASSERT_TRUE(store.has_value()) << store.error().message();
    EXPECT_EQ((*store)->create_volume({.name = "a", .capacity = Pages(1)}).error().message(),
              "create volume 'a': the memory file's file system is full");
    EXPECT_TRUE((*store)->volumes().empty());
}

}  // namespace
}  // namespace pepita::storage::zram
