#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_store.h"

// A volume as it was at one moment, while others change it.

namespace pepita::storage {
namespace {

using Page = std::array<std::byte, 4096>;
using Model = std::map<std::uint64_t, Page>;

Page noise(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Page page{};
    for (std::size_t at = 0; at < page.size() / 2; at += 8) {
        const std::uint64_t word = random();
        std::memcpy(&page[at], &word, 8);
    }
    return page;
}

class FrozenVolumeTest : public testing::Test {
protected:
    void write(std::uint64_t page, std::uint64_t seed) {
        ASSERT_EQ(volume_->write(Pages(page), noise(seed)), IoStatus::Ok);
    }
    static Model read(ZramFrozen& frozen) {
        Model model;
        Page content{};
        while (true) {
            const auto read = frozen.next(content);
            EXPECT_TRUE(read.has_value()) << read.error().message();
            const std::optional<Pages> page = read ? *read : std::nullopt;
            if (!page) {
                return model;
            }
            EXPECT_TRUE(model.empty() || model.rbegin()->first < page->value());
            model[page->value()] = content;
        }
    }

    std::shared_ptr<ZramStore> store_ =
        *ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 32_MiB);
    std::shared_ptr<ZramVolume> volume_ =
        *store_->create_volume({.name = "a", .capacity = Pages(100'000)});
};

TEST_F(FrozenVolumeTest, IsWhatWasThereWhateverIsDoneThen) {
    Model before;
    for (const std::uint64_t page : {0U, 7U, 8U, 600U, 601U, 9000U, 70'000U, 99'999U}) {
        write(page, page);
        before[page] = noise(page);
    }
    ASSERT_EQ(volume_->write_zeroes(Pages(20), Pages(2)), IoStatus::Ok);
    before[20] = before[21] = Page{};
    const ZramStatistics statistics = volume_->statistics();

    const auto frozen = *volume_->freeze();
    EXPECT_EQ(frozen->capacity(), Pages(100'000));
    write(7, 1000);                                                      // replaced
    write(7, 1001);                                                      // and again
    write(9, 1002);                                                      // new
    write(30'000, 1003);                                                 // new, in a new table
    ASSERT_EQ(volume_->discard(Pages(600), Pages(1)), IoStatus::Ok);     // gone
    ASSERT_EQ(volume_->discard(Pages(9000), Pages(1)), IoStatus::Ok);    // with its table
    ASSERT_EQ(volume_->write_zeroes(Pages(8), Pages(1)), IoStatus::Ok);  // other
    ASSERT_EQ(volume_->write(Pages(20), noise(1004)), IoStatus::Ok);     // no zeros any more
    const std::array<std::byte, 3> part{};
    ASSERT_EQ(volume_->write_part(Pages(601), 5, part), IoStatus::Ok);
    ASSERT_TRUE(volume_->resize(Pages(50'000)).has_value());
    EXPECT_EQ(read(*frozen), before);

    // The volume counts what it has, whoever keeps what it had.
    EXPECT_EQ(statistics.stored, 10U);
    EXPECT_EQ(volume_->statistics().stored, 8U);
    EXPECT_EQ(volume_->statistics().zero, 2U);
    Page content{};
    ASSERT_EQ(volume_->read(Pages(7), content), IoStatus::Ok);
    EXPECT_EQ(content, noise(1001));
}

TEST_F(FrozenVolumeTest, LeavesNothingBehind) {
    for (std::uint64_t page = 0; page < 1000; ++page) {
        write(page, page);
    }
    const ZramUse before = store_->use();
    for (const bool is_read : {true, false}) {
        auto frozen = *volume_->freeze();
        for (std::uint64_t page = 0; page < 1000; ++page) {
            write(page, 5000 + page);
        }
        EXPECT_EQ(store_->use().sharing.objects, 2000U);
        if (is_read) {
            EXPECT_EQ(read(*frozen).size(), 1000U);
            EXPECT_EQ(store_->use().sharing.objects, 1000U) << "each goes once it was read";
        }
        frozen.reset();
        EXPECT_EQ(store_->use().sharing.objects, 1000U);
        for (std::uint64_t page = 0; page < 1000; ++page) {
            write(page, page);
        }
    }
    EXPECT_EQ(store_->use().pages, before.pages);
    EXPECT_EQ(store_->use().sharing, before.sharing);
    EXPECT_LE(store_->use().used.value(),
              before.used.value() + (512U << 10U));  // indexes have grown
}

TEST_F(FrozenVolumeTest, OutlivesItsVolume) {
    write(5, 5);
    write(6, 6);
    const auto frozen = *volume_->freeze();
    ASSERT_TRUE(store_->remove("a").has_value());
    EXPECT_EQ(volume_->freeze().error().code(), Code::NotFound);
    EXPECT_EQ(read(*frozen), (Model{{5, noise(5)}, {6, noise(6)}}));
}

TEST_F(FrozenVolumeTest, ThereIsOneAtATime) {
    write(1, 1);
    auto frozen = *volume_->freeze();
    const auto other = volume_->freeze();
    ASSERT_FALSE(other.has_value());
    EXPECT_EQ(other.error().message(), "a snapshot of volume 'a' is under way");
    write(1, 2);
    EXPECT_EQ(read(*frozen), (Model{{1, noise(1)}}));  // the one that failed has changed nothing
    frozen.reset();
    EXPECT_EQ(read(**volume_->freeze()), (Model{{1, noise(2)}}));
}

TEST_F(FrozenVolumeTest, WithoutMemoryItIsLostAndTheWriterGoesOn) {
    const auto small = *ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 1_MiB);
    const auto volume = *small->create_volume({.name = "a", .capacity = Pages(100'000)});
    ASSERT_EQ(volume->write_zeroes(Pages(0), Pages(20'000)), IoStatus::Ok);
    const auto frozen = *volume->freeze();
    // Each that is replaced takes a little to be kept, 20000 of them more than there is.
    const std::uint64_t used = small->use().used.value();
    for (std::uint64_t page = 0; page < 20'000; ++page) {
        ASSERT_EQ(volume->write_zeroes(Pages(page), Pages(1)), IoStatus::Ok);
    }
    EXPECT_GT(small->use().used.value(), used);
    Page content{};
    auto page = frozen->next(content);
    while (page && *page) {
        page = frozen->next(content);
    }
    ASSERT_FALSE(page.has_value());
    EXPECT_EQ(page.error().code(), Code::ResourceExhausted);
}

constexpr std::uint64_t kPages = 200;
constexpr std::uint64_t kApart = 97;  // over stripes and tables

// A writer puts one number after the other into each of some pages, in order of the pages. So at
// each moment they hold numbers that fall, by one at the most.
TEST_F(FrozenVolumeTest, IsAStateThatWasWhileAWriterGoesOn) {
    const auto put = [&](std::uint64_t place, std::uint64_t number) {
        Page page = noise(place);
        std::memcpy(page.data(), &number, sizeof(number));
        ASSERT_EQ(volume_->write(Pages(place * kApart), page), IoStatus::Ok);
    };
    for (std::uint64_t place = 0; place < kPages; ++place) {
        put(place, 0);
    }
    std::atomic<bool> is_over{false};
    std::atomic<std::uint64_t> round{0};
    Thread writer = *Thread::start("writer", [&] {
        for (std::uint64_t number = 1; !is_over.load(); ++number) {
            for (std::uint64_t place = 0; place < kPages; ++place) {
                put(place, number);
            }
            round.store(number);
        }
    });
    std::uint64_t torn = 0;
    for (int i = 0; i < 30; ++i) {
        const std::uint64_t begun = round.load();
        const Model model = read(**volume_->freeze());
        ASSERT_EQ(model.size(), kPages);
        std::uint64_t last = UINT64_MAX;
        std::uint64_t first = 0;
        for (const auto& [page, content] : model) {
            std::uint64_t number = 0;
            std::memcpy(&number, content.data(), sizeof(number));
            first = last == UINT64_MAX ? number : first;
            EXPECT_LE(number, last);
            last = number;
        }
        EXPECT_LE(first, last + 1) << "of two rounds that lie apart";
        EXPECT_GE(last + 1, begun) << "what was complete before is in it";
        torn += first == last ? 0 : 1;
    }
    is_over.store(true);
    writer.join();
    RecordProperty("amid a round", static_cast<int>(torn));
}

}  // namespace
}  // namespace pepita::storage
