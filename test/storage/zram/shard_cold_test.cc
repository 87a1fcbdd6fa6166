#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram/layout.h"
#include "storage/zram_store.h"
#include "test/support/sanitizer.h"

// The cold tier: contents that are idle are packed with zstd.

namespace pepita::storage::zram {
namespace {

using Page = std::array<std::byte, 4096>;
constexpr std::uint64_t kPages = 1000;

/// Sixteen different bytes in no order: LZ4 gains nothing, zstd half.
Page nibbles(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Page page{};
    for (std::byte& byte : page) {
        byte = static_cast<std::byte>('a' + random() % 16);
    }
    return page;
}

Page read(const ZramVolume& volume, std::uint64_t page) {
    Page got{};
    EXPECT_EQ(volume.read(Pages(page), got), IoStatus::Ok);
    return got;
}

class ZramColdTest : public testing::Test {
protected:
    void SetUp() override {
        store_ = *ZramStore::create(*duplicate(file_.ref()), 64_MiB);
        volume_ = *store_->create_volume({.name = "a", .capacity = Pages(2 * kPages)});
        for (std::uint64_t page = 0; page < kPages; ++page) {
            ASSERT_EQ(volume_->write(Pages(page), nibbles(page)), IoStatus::Ok);
        }
    }
    std::uint64_t compact() {
        const auto done = store_->compact_idle(Pages(10 * kPages));
        EXPECT_TRUE(done.has_value());
        EXPECT_TRUE(done->is_done);
        return done->pages;
    }
    void expect_all() {
        for (std::uint64_t page = 0; page < kPages; ++page) {
            ASSERT_EQ(read(*volume_, page), nibbles(page)) << page;
        }
    }

    Fd file_{::memfd_create("store", MFD_CLOEXEC)};
    std::shared_ptr<ZramStore> store_;
    std::shared_ptr<ZramVolume> volume_;
};

TEST_F(ZramColdTest, GetsSmallerAndStaysTheSame) {
    const ZramStatistics pages = volume_->statistics();
    const ZramUse before = store_->use();
    EXPECT_EQ(compact(), 0U);  // nothing is marked
    store_->mark_idle();
    EXPECT_EQ(compact(), kPages);
    const ZramUse after = store_->use();
    EXPECT_EQ(after.sharing.cold, kPages);
    EXPECT_EQ(after.sharing.cold_payload, after.sharing.payload);
    EXPECT_LT(after.sharing.payload.value(), before.sharing.payload.value() * 6 / 10);
    EXPECT_LT(after.used.value(), before.used.value() * 7 / 10 + (1U << 20U));
    EXPECT_EQ(volume_->statistics(), pages);
    expect_all();
    EXPECT_EQ(compact(), 0U);  // what is cold stays so
}

TEST_F(ZramColdTest, WhatIsReadOrWrittenIsNotIdle) {
    store_->mark_idle();
    (void)read(*volume_, 1);
    ASSERT_EQ(volume_->write(Pages(kPages), nibbles(2)), IoStatus::Ok);  // the same once more
    ASSERT_EQ(volume_->write(Pages(3), nibbles(kPages)), IoStatus::Ok);  // another
    EXPECT_EQ(compact(), kPages - 3);
    store_->mark_idle();
    EXPECT_EQ(compact(), 3U);
}

TEST_F(ZramColdTest, KeepsToItsBudgetAndGoesOn) {
    store_->mark_idle();
    std::uint64_t pages = 0;
    int calls = 0;
    for (bool is_done = false; !is_done; ++calls) {
        const auto done = *store_->compact_idle(Pages(50));
        pages += done.pages;
        is_done = done.is_done;
        EXPECT_LE(done.pages, 50U + kSlotsMax);  // a frame is done as a whole
    }
    EXPECT_EQ(pages, kPages);
    EXPECT_GT(calls, 5);
}

TEST_F(ZramColdTest, ColdContentsAreSharedAndGivenBack) {
    store_->mark_idle();
    (void)compact();
    for (std::uint64_t page = 0; page < kPages; ++page) {
        ASSERT_EQ(volume_->write(Pages(kPages + page), nibbles(page)), IoStatus::Ok);
    }
    EXPECT_EQ(store_->use().sharing.objects, kPages);
    EXPECT_EQ(store_->use().sharing.shared, kPages);
    ASSERT_EQ(volume_->discard(Pages(0), Pages(kPages)), IoStatus::Ok);
    EXPECT_EQ(store_->use().sharing.cold, kPages);
    ASSERT_EQ(volume_->discard(Pages(kPages), Pages(kPages)), IoStatus::Ok);
    EXPECT_EQ(store_->use().sharing, ZramSharing{});
    EXPECT_EQ(volume_->statistics(), ZramStatistics{});
}

TEST_F(ZramColdTest, IsThereWhenOpenedAnew) {
    store_->mark_idle();
    (void)store_->compact_idle(Pages(kPages / 2));
    const ZramUse before = store_->use();
    ASSERT_GT(before.sharing.cold, 0U);
    ASSERT_LT(before.sharing.cold, kPages);
    const ZramStatistics pages = volume_->statistics();
    volume_ = nullptr;
    store_ = *ZramStore::open(*duplicate(file_.ref()));
    volume_ = *store_->find("a");
    EXPECT_EQ(store_->use().sharing, before.sharing);
    EXPECT_EQ(volume_->statistics(), pages);
    expect_all();
}

/// Packs and warms up again until it is killed; says each step.
[[noreturn]] void compact_for_ever(FdRef file, FdRef tell, std::uint64_t seed) {
    const auto store = *ZramStore::open(*duplicate(file));
    const auto volume = *store->find("a");
    std::mt19937_64 random(seed);
    while (true) {
        store->mark_idle();
        for (bool is_done = false; !is_done;) {
            is_done = store->compact_idle(Pages(8))->is_done;
            const char step = '.';
            if (::write(tell.number(), &step, 1) != 1) {
                ::_exit(1);
            }
        }
        for (int i = 0; i < 300; ++i) {
            const std::uint64_t page = random() % kPages;
            (void)volume->write(Pages(page), nibbles(page + random() % 2 * kPages));
        }
    }
}

TEST_F(ZramColdTest, KillsAmidPackingLoseNothing) {
    volume_ = nullptr;
    store_ = nullptr;
    std::mt19937 random(5);
    for (std::uint64_t kill = 0; kill < (kIsSanitized ? 4 : 40); ++kill) {
        std::array<int, 2> ends{};
        ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        const Fd told(ends[0]);
        Fd tell(ends[1]);
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            compact_for_ever(file_.ref(), tell.ref(), kill);
        }
        tell = Fd();
        char step = 0;
        for (std::size_t steps = random() % 60 + 1; steps > 0; --steps) {
            ASSERT_EQ(::read(told.ref().number(), &step, 1), 1);
        }
        // Not at a step's end, where it is now, but anywhere in the next ones.
        for (std::size_t spin = random() % 200'000; spin > 0; --spin) {
            step = static_cast<char>(step ^ 1);
            __asm__ volatile("" ::: "memory");  // SAFETY: emits nothing; the loop stays
        }
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));
        store_ = *ZramStore::open(*duplicate(file_.ref()));
        volume_ = *store_->find("a");
        EXPECT_EQ(volume_->statistics().stored, kPages);
        EXPECT_EQ(store_->use().sharing.objects + store_->use().sharing.shared, kPages);
        for (std::uint64_t page = 0; page < kPages; ++page) {
            const Page got = read(*volume_, page);
            ASSERT_TRUE(got == nibbles(page) || got == nibbles(page + kPages)) << page;
        }
        volume_ = nullptr;
        store_ = nullptr;
    }
    store_ = *ZramStore::open(*duplicate(file_.ref()));
    ASSERT_TRUE(store_->remove("a").has_value());
    EXPECT_EQ(store_->use().sharing, ZramSharing{});
}

TEST_F(ZramColdTest, ADamagedFrameIsFailedOrAnotherPage) {
    store_->mark_idle();
    (void)compact();
    volume_ = nullptr;
    store_ = nullptr;
    constexpr std::array<std::uint8_t, 4> magic{0x28, 0xb5, 0x2f, 0xfd};  // RFC 8878 3.1.1
    std::vector<std::byte> bytes(32U << 20U);
    ASSERT_GT(::pread(file_.ref().number(), bytes.data(), bytes.size(), 0), 0);
    std::mt19937 random(1);
    std::uint64_t frames = 0;
    for (std::size_t at = 0; at + 100 < bytes.size(); ++at) {
        if (std::memcmp(&bytes[at], magic.data(), magic.size()) == 0) {
            bytes[at + random() % 100] = static_cast<std::byte>(random());
            ++frames;
        }
    }
    EXPECT_GE(frames, kPages);
    ASSERT_EQ(::pwrite(file_.ref().number(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    store_ = *ZramStore::open(*duplicate(file_.ref()));
    volume_ = *store_->find("a");
    std::uint64_t failed = 0;
    for (std::uint64_t page = 0; page < kPages; ++page) {
        Page got{};
        failed += volume_->read(Pages(page), got) == IoStatus::Failed ? 1U : 0U;
    }
    EXPECT_GT(failed, kPages / 50);
    store_->mark_idle();
    (void)compact();
    ASSERT_TRUE(store_->remove("a").has_value());
    EXPECT_EQ(store_->use().sharing, ZramSharing{});
}

TEST(ZramCold, WithoutRoomForZstdNothingIsCold) {
    const auto store = *ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 1_MiB);
    const auto volume = *store->create_volume({.name = "a", .capacity = Pages(10)});
    ASSERT_EQ(volume->write(Pages(0), nibbles(1)), IoStatus::Ok);
    const Bytes used = store->use().used;
    store->mark_idle();
    EXPECT_EQ(store->compact_idle(Pages(1)).error().code(), Code::ResourceExhausted);
    EXPECT_EQ(store->use().used, used);
    EXPECT_EQ(read(*volume, 0), nibbles(1));
}

}  // namespace
}  // namespace pepita::storage::zram
