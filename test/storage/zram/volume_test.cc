#include <gtest/gtest.h>
#include <sys/mman.h>

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

namespace pepita::storage::zram {
namespace {

using Page = std::array<std::byte, 4096>;

Fd memory_file() { return Fd(::memfd_create("store", MFD_CLOEXEC)); }

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

TEST(ZramVolume, S2_WhatWasBeingFilledIsEmptyAfterAKill) {
    const Fd file = memory_file();
    {
        const auto store = *ZramStore::create(*duplicate(file.ref()), 8_MiB);
        const auto half = *store->create_volume({.name = "half", .capacity = Pages(5000)});
        const auto whole = *store->create_volume({.name = "whole", .capacity = Pages(5000)});
        ASSERT_TRUE(half->begin_filling().has_value());
        ASSERT_TRUE(whole->begin_filling().has_value());
        for (std::uint64_t page = 0; page < 100; ++page) {
            ASSERT_EQ(half->write(Pages(page * 50), packable(page)), IoStatus::Ok);
            ASSERT_EQ(whole->write(Pages(page * 50), packable(page)), IoStatus::Ok);
        }
        EXPECT_EQ(half->begin_filling().error().code(), Code::FailedPrecondition);
        whole->end_filling(ZramVolume::Filled::Whole);
    }
    const auto store = *ZramStore::open(*duplicate(file.ref()));
    const auto half = *store->find("half");
    EXPECT_EQ(half->statistics(), ZramStatistics());
    EXPECT_EQ((*store->find("whole"))->statistics().stored, 100U);
    ASSERT_TRUE(half->begin_filling().has_value());
    ASSERT_EQ(half->write(Pages(1), packable(1)), IoStatus::Ok);
    half->end_filling(ZramVolume::Filled::InVain);
    EXPECT_EQ(half->statistics(), ZramStatistics());
    EXPECT_EQ(store->use().sharing.objects, 100U);
}

TEST(ZramVolume, S4_WhatAVolumeIsStandsInTheStore) {
    const Fd file = memory_file();
    {
        const auto store = *ZramStore::create(*duplicate(file.ref()), 8_MiB);
        ASSERT_TRUE(store
                        ->create_volume({.name = "over",
                                         .capacity = Pages(9),
                                         .domain = "default",
                                         .content = ZramContent::Overlay})
                        .has_value());
        (void)*store->create_volume({.name = "disk", .capacity = Pages(9)});
    }
    const auto store = *ZramStore::open(*duplicate(file.ref()));
    EXPECT_EQ((*store->find("over"))->content(), ZramContent::Overlay);
    EXPECT_EQ((*store->find("disk"))->content(), ZramContent::Disk);
}

}  // namespace
}  // namespace pepita::storage::zram
