#include "storage/zram_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram/layout.h"
#include "test/support/sanitizer.h"

namespace pepita::storage {
namespace {

using Page = std::array<std::byte, 4096>;

Fd memory_file() { return Fd(::memfd_create("store", MFD_CLOEXEC)); }

std::shared_ptr<ZramStore> make_store(Bytes limit = 64_MiB) {
    auto store = ZramStore::create(memory_file(), limit);
    EXPECT_TRUE(store.has_value());
    return *store;
}

std::shared_ptr<ZramVolume> make_volume(ZramStore& store, const std::string& name,
                                        std::uint64_t pages = 1024,
                                        const std::string& domain = "default") {
    auto volume = store.create_volume({.name = name, .capacity = Pages(pages), .domain = domain});
    EXPECT_TRUE(volume.has_value()) << volume.error().message();
    return *volume;
}

Page filled(int byte) {
    Page page;
    page.fill(static_cast<std::byte>(byte));
    return page;
}

/// Noise that no encoder makes smaller.
Page noise(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Page page;
    for (std::size_t at = 0; at < page.size(); at += 8) {
        const std::uint64_t word = random();
        std::memcpy(&page[at], &word, 8);
    }
    return page;
}

/// Noise at its begin, then zeros: packs to about `size` bytes.
Page packable(std::uint64_t seed, std::size_t size = 1000) {
    Page page = noise(seed);
    std::fill(page.begin() + static_cast<std::ptrdiff_t>(size), page.end(), std::byte{0});
    return page;
}

Page read(const ZramVolume& volume, std::uint64_t page) {
    Page got = filled(0xee);
    EXPECT_EQ(volume.read(Pages(page), got), IoStatus::Ok);
    return got;
}

TEST(ZramStore, ReadsBackWhatWasWritten) {
    const auto store = make_store();
    const auto volume = make_volume(*store, "a");
    const std::vector<Page> pages{filled(0), filled(7), noise(1), packable(2), packable(3, 20)};
    for (std::size_t i = 0; i < pages.size(); ++i) {
        ASSERT_EQ(volume->write(Pages(i * 200), pages[i]), IoStatus::Ok);
    }
    for (std::size_t i = 0; i < pages.size(); ++i) {
        EXPECT_EQ(read(*volume, i * 200), pages[i]) << i;
        EXPECT_TRUE(volume->contains(Pages(i * 200)));
    }
    EXPECT_EQ(read(*volume, 5), filled(0));
    EXPECT_FALSE(volume->contains(Pages(5)));
}

TEST(ZramStore, CountsEachKindOfPage) {
    const auto store = make_store();
    const auto volume = make_volume(*store, "a");
    const std::vector<Page> pages{filled(0), filled(0),   filled(9),
                                  noise(1),  packable(2), packable(2)};
    for (std::size_t i = 0; i < pages.size(); ++i) {
        ASSERT_EQ(volume->write(Pages(i), pages[i]), IoStatus::Ok);
    }
    const ZramStatistics its = volume->statistics();
    EXPECT_EQ(its.stored, 6U);
    EXPECT_EQ(its.zero, 2U);
    EXPECT_EQ(its.same, 1U);
    EXPECT_EQ(its.content, 3U);
    EXPECT_EQ(its.raw, 1U);
    const ZramUse use = store->use();
    EXPECT_EQ(use.pages, its);
    EXPECT_EQ(use.sharing.objects, 2U);
    EXPECT_EQ(use.sharing.shared, 1U);
    EXPECT_GT(use.sharing.payload, Bytes(4096 + 1000));
    EXPECT_LT(use.sharing.payload, Bytes(4096 + 1100));
    EXPECT_EQ(its.packed.value() - 4096, 2 * (use.sharing.payload.value() - 4096));
}

TEST(ZramStore, SharesInADomainAndNeverAcross) {
    const auto store = make_store();
    const auto one = make_volume(*store, "one", 16, "tenant-a");
    const auto two = make_volume(*store, "two", 16, "tenant-a");
    const auto other = make_volume(*store, "other", 16, "tenant-b");
    for (const auto& volume : {one, two, other}) {
        ASSERT_EQ(volume->write(Pages(3), noise(42)), IoStatus::Ok);
    }
    EXPECT_EQ(
        store->use_of("tenant-a")->sharing,
        (ZramSharing{.objects = 1, .shared = 1, .payload = 4_KiB, .cold = 0, .cold_payload = {}}));
    EXPECT_EQ(
        store->use_of("tenant-b")->sharing,
        (ZramSharing{.objects = 1, .shared = 0, .payload = 4_KiB, .cold = 0, .cold_payload = {}}));
    EXPECT_EQ(store->use_of("nobody").error().code(), Code::NotFound);
    ASSERT_EQ(one->discard(Pages(3), Pages(1)), IoStatus::Ok);
    EXPECT_EQ(read(*two, 3), noise(42));
}

TEST(ZramStore, GivesAllMemoryBack) {
    const Fd file = memory_file();
    const auto blocks = [&] {
        struct stat status{};
        EXPECT_EQ(::fstat(file.ref().number(), &status), 0);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    };
    const auto store = *ZramStore::create(*duplicate(file.ref()), 64_MiB);
    const Bytes empty = store->use().used;
    const auto volume = make_volume(*store, "a", 4000);
    const Bytes with_volume = store->use().used;
    for (std::uint64_t page = 0; page < 4000; ++page) {
        ASSERT_EQ(volume->write(Pages(page), packable(page, 90 + page)), IoStatus::Ok);
    }
    EXPECT_GT(blocks(), 8'000'000U);
    EXPECT_LE(blocks(), store->use().used.value());
    ASSERT_EQ(volume->discard(Pages(0), Pages(4000)), IoStatus::Ok);
    EXPECT_EQ(volume->statistics(), ZramStatistics{});
    EXPECT_EQ(store->use().used, with_volume);
    EXPECT_LE(blocks(), 16'384U);
    ASSERT_TRUE(store->remove("a").has_value());
    EXPECT_EQ(store->use().used, empty);
    EXPECT_LE(blocks(), 4096U);
    EXPECT_EQ(volume->write(Pages(0), noise(1)), IoStatus::Failed);
    EXPECT_EQ(volume->resize(Pages(5)).error().code(), Code::NotFound);
}

// Pages of any size in the places of others: frames are packed anew all the time, and the memory
// for that is kept. The file never takes more than what is charged.
TEST(ZramStore, OverwritingTakesNoMemoryThatIsNotCharged) {
    const Fd file = memory_file();
    const auto blocks = [&] {
        struct stat status{};
        EXPECT_EQ(::fstat(file.ref().number(), &status), 0);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    };
    constexpr std::uint64_t pages = 500;
    const auto store = *ZramStore::create(*duplicate(file.ref()), 16_MiB);
    const auto volume = make_volume(*store, "a", pages);
    std::mt19937 random(6);
    std::vector<std::uint64_t> sizes(pages);
    for (std::uint64_t i = 0; i < 5'000; ++i) {
        const std::uint64_t page = i < pages ? i : random() % pages;
        sizes[page] = 400 + random() % 3200;
        ASSERT_EQ(volume->write(Pages(page), packable(page, sizes[page])), IoStatus::Ok);
        if (i % 500 == 0) {
            ASSERT_LE(blocks(), store->use().used.value());
        }
    }
    for (std::uint64_t page = 0; page < pages; ++page) {
        ASSERT_EQ(read(*volume, page), packable(page, sizes[page]));
    }
    const ZramUse use = store->use();
    EXPECT_LE(blocks(), use.used.value());
    // With a full store too, where a page's memory is refused after its frame was packed.
    const auto filler = make_volume(*store, "filler", 6'000);
    std::uint64_t refused = 0;
    for (std::uint64_t page = 0; page < 6'000; ++page) {
        refused += filler->write(Pages(page), noise(page)) == IoStatus::NoSpace ? 1U : 0U;
        refused += volume->write(Pages(random() % pages), noise(random())) == IoStatus::NoSpace;
    }
    EXPECT_GT(refused, 0U);
    EXPECT_LE(blocks(), store->use().used.value());
    EXPECT_LE(store->use().used, 64_MiB);
}

TEST(ZramStore, GivesMemoryBackWhereEverySecondPageGoes) {
    const auto store = make_store();
    const auto volume = make_volume(*store, "a", 8000);
    for (std::uint64_t page = 0; page < 8000; ++page) {
        ASSERT_EQ(volume->write(Pages(page), packable(page, 500)), IoStatus::Ok);
    }
    const std::uint64_t full = store->use().used.value();
    for (std::uint64_t page = 0; page < 8000; page += 2) {
        ASSERT_EQ(volume->discard(Pages(page), Pages(1)), IoStatus::Ok);
    }
    EXPECT_LT(store->use().used.value(), full * 8 / 10);
    for (std::uint64_t page = 1; page < 8000; page += 2) {
        ASSERT_EQ(read(*volume, page), packable(page, 500));
    }
}

TEST(ZramStore, LosesLittleRoom) {
    const auto store = make_store(256_MiB);
    const auto volume = make_volume(*store, "a", 20'000);
    std::mt19937 random(5);
    for (std::uint64_t page = 0; page < 20'000; ++page) {
        ASSERT_EQ(volume->write(Pages(page), packable(page, 400 + random() % 3200)), IoStatus::Ok);
    }
    const ZramUse use = store->use();
    EXPECT_LT(use.metadata.value() * 100, use.sharing.payload.value() * 4);
}

TEST(ZramStore, PagesThatDoNotPackLoseASixteenth) {
    const auto store = make_store(256_MiB);
    const auto volume = make_volume(*store, "a", 20'000);
    for (std::uint64_t page = 0; page < 20'000; ++page) {
        ASSERT_EQ(volume->write(Pages(page), noise(page)), IoStatus::Ok);
    }
    const ZramUse use = store->use();
    ASSERT_EQ(use.sharing.payload, to_bytes(Pages(20'000)));
    EXPECT_LT(use.metadata.value() * 100, use.sharing.payload.value() * 8);
}

// T1: whatever the store's random salt.
TEST(ZramStore, T1_FullMeansNoSpaceAndNothingChanges) {
    const auto store = make_store(2_MiB);
    const auto volume = make_volume(*store, "a", 4096);
    // Where one content has no room another may: each has its shard by its salted hash. 1 in 10^13
    // stores has a shard that none of 1000 refused contents asked.
    std::map<std::uint64_t, std::uint64_t> written;  // seed, by page
    std::uint64_t seed = 0;
    for (int refused = 0; refused < 1000; ++seed) {
        if (volume->write(Pages(written.size()), noise(seed)) == IoStatus::NoSpace) {
            ++refused;
        } else {
            written[written.size()] = seed;
        }
        ASSERT_LE(store->use().used, 2_MiB);
    }
    // Of 512 pages: 40 are tables and indexes; each frame of 15 contents has two that are not full,
    // and each of the 32 shards one frame more.
    EXPECT_GT(written.size(), 512U - 40U - 2U * (32U + 512U / 15U));
    EXPECT_LT(written.size(), 512U);
    EXPECT_EQ(volume->write(Pages(3), noise(seed - 1)), IoStatus::NoSpace);
    for (const auto& [page, its] : written) {
        ASSERT_EQ(read(*volume, page), noise(its));
    }
    ASSERT_EQ(volume->discard(Pages(0), Pages(32)), IoStatus::Ok);
    EXPECT_EQ(volume->write(Pages(3), noise(seed - 1)), IoStatus::Ok);
    EXPECT_EQ(
        store->create_volume({.name = "b", .capacity = ZramVolume::kCapacityMax, .domain = "x"})
            .error()
            .code(),
        Code::ResourceExhausted);
    EXPECT_EQ(store->find("b").error().code(), Code::NotFound);
}

TEST(ZramStore, PartsOfAPage) {
    const auto store = make_store();
    const auto volume = make_volume(*store, "a");
    Page expected = noise(1);
    ASSERT_EQ(volume->write(Pages(2), expected), IoStatus::Ok);
    const std::array<std::byte, 512> part{std::byte{1}, std::byte{2}};
    ASSERT_EQ(volume->write_part(Pages(2), 3584, part), IoStatus::Ok);
    std::ranges::copy(part, expected.begin() + 3584);
    EXPECT_EQ(read(*volume, 2), expected);
    std::array<std::byte, 512> got{};
    ASSERT_EQ(volume->read_part(Pages(2), 3584, got), IoStatus::Ok);
    EXPECT_EQ(got, part);
}

TEST(ZramStore, ZeroesArePresentAndDiscardedPagesAreNot) {
    const auto store = make_store();
    const auto volume = make_volume(*store, "a");
    ASSERT_EQ(volume->write(Pages(1), noise(1)), IoStatus::Ok);
    ASSERT_EQ(volume->write_zeroes(Pages(0), Pages(3)), IoStatus::Ok);
    EXPECT_TRUE(volume->contains(Pages(2)));
    EXPECT_EQ(read(*volume, 1), filled(0));
    EXPECT_EQ(volume->statistics().zero, 3U);
    EXPECT_EQ(store->use().sharing.objects, 0U);
    ASSERT_EQ(volume->discard(Pages(0), Pages(1024)), IoStatus::Ok);
    EXPECT_FALSE(volume->contains(Pages(2)));
}

TEST(ZramStore, NothingOutsideOfTheVolume) {
    const auto store = make_store();
    const auto volume = make_volume(*store, "a", 10);
    Page page{};
    EXPECT_EQ(volume->read(Pages(10), page), IoStatus::Failed);
    EXPECT_EQ(volume->write(Pages(10), page), IoStatus::Failed);
    EXPECT_EQ(volume->write(Pages(~0ULL), page), IoStatus::Failed);
    EXPECT_EQ(volume->discard(Pages(9), Pages(2)), IoStatus::Failed);
    EXPECT_EQ(volume->discard(Pages(~0ULL), Pages(2)), IoStatus::Failed);
    EXPECT_EQ(volume->write_zeroes(Pages(1), Pages(~0ULL)), IoStatus::Failed);
    EXPECT_FALSE(volume->contains(Pages(10)));
}

TEST(ZramStore, Resizes) {
    const auto store = make_store();
    const auto volume = make_volume(*store, "a", 10'000);
    ASSERT_EQ(volume->write(Pages(9'999), noise(1)), IoStatus::Ok);
    ASSERT_EQ(volume->write(Pages(1), noise(2)), IoStatus::Ok);
    ASSERT_TRUE(volume->resize(Pages(100)).has_value());
    EXPECT_EQ(volume->statistics().stored, 1U);
    ASSERT_TRUE(volume->resize(Pages(20'000)).has_value());
    EXPECT_EQ(read(*volume, 9'999), filled(0));
    EXPECT_EQ(volume->write(Pages(19'999), noise(3)), IoStatus::Ok);
    EXPECT_EQ(read(*volume, 1), noise(2));
    EXPECT_EQ(volume->resize(Pages(0)).error().code(), Code::InvalidArgument);
    EXPECT_EQ(volume->resize(ZramVolume::kCapacityMax + Pages(1)).error().code(),
              Code::InvalidArgument);
}

TEST(ZramStore, RefusesWhatIsNoStoreOrVolume) {
    EXPECT_EQ(ZramStore::create(memory_file(), Bytes(4096)).error().code(), Code::InvalidArgument);
    EXPECT_EQ(ZramStore::create(memory_file(), Bytes(~0ULL)).error().code(), Code::InvalidArgument);
    EXPECT_EQ(ZramStore::create(Fd(::open("/dev/null", O_RDWR)), 8_MiB).error().code(),
              Code::InvalidArgument);
    const auto store = make_store();
    const auto volume = make_volume(*store, "a");
    const auto code = [&](const ZramStore::VolumeOptions& options) {
        return store->create_volume(options).error().code();
    };
    EXPECT_EQ(code({.name = "a", .capacity = Pages(1), .domain = "d"}), Code::AlreadyExists);
    EXPECT_EQ(code({.name = "", .capacity = Pages(1), .domain = "d"}), Code::InvalidArgument);
    EXPECT_EQ(code({.name = "../b", .capacity = Pages(1), .domain = "d"}), Code::InvalidArgument);
    EXPECT_EQ(code({.name = std::string(64, 'x'), .capacity = Pages(1), .domain = "d"}),
              Code::InvalidArgument);
    EXPECT_EQ(code({.name = "b", .capacity = Pages(0), .domain = "d"}), Code::InvalidArgument);
    EXPECT_EQ(code({.name = "b", .capacity = Pages(1ULL << 40U), .domain = "d"}),
              Code::InvalidArgument);
    EXPECT_EQ(code({.name = "b", .capacity = Pages(1), .domain = "a/b"}), Code::InvalidArgument);
    EXPECT_EQ(store->remove("b").error().code(), Code::NotFound);
    EXPECT_EQ(store->volumes().size(), 1U);
}

/// The same by the simplest means: each volume's pages by number.
class Model {
public:
    explicit Model(std::uint64_t seed) : random_(seed) {}

    void step(ZramStore& store) {
        const std::size_t which = random_() % kVolumes;
        const std::string name = "v" + std::to_string(which);
        auto& pages = pages_[which];
        if (volumes_[which] == nullptr) {
            volumes_[which] = make_volume(store, name, kPages, which % 2 == 0 ? "even" : "odd");
        }
        ZramVolume& volume = *volumes_[which];
        const std::uint64_t page = random_() % volume.capacity().value();
        switch (random_() % 40) {
            case 0:
                return discard(volume, pages, page);
            case 1:
                return zero(volume, pages, page);
            case 2: {
                const Pages capacity(kPages / 2 + random_() % kPages);
                ASSERT_TRUE(volume.resize(capacity).has_value());
                pages.erase(pages.lower_bound(capacity.value()), pages.end());
                return;
            }
            case 3:
                if (random_() % 100 == 0) {
                    ASSERT_TRUE(store.remove(name).has_value());
                    volumes_[which] = nullptr;
                    pages.clear();
                }
                return;
            case 4:
            case 5: {
                Page whole = pages.contains(page) ? pages[page] : filled(0);
                const std::size_t offset = random_() % 8 * 512;
                const Page part = content();
                ASSERT_EQ(volume.write_part(Pages(page), offset, std::span(part).first(512)),
                          IoStatus::Ok);
                std::copy_n(part.begin(), 512, whole.begin() + static_cast<std::ptrdiff_t>(offset));
                pages[page] = whole;
                return;
            }
            default:
                pages[page] = content();
                ASSERT_EQ(volume.write(Pages(page), pages[page]), IoStatus::Ok);
        }
    }

    void check(ZramStore& store) {
        ZramStatistics truth;
        std::map<std::string, std::set<Page>> contents;
        for (std::size_t which = 0; which < kVolumes; ++which) {
            if (volumes_[which] == nullptr) {
                continue;
            }
            ZramStatistics its;
            for (const auto& [page, content] : pages_[which]) {
                ASSERT_EQ(read(*volumes_[which], page), content);
                const bool is_same = content == filled(std::to_integer<int>(content[0]));
                ++its.stored;
                its.zero += is_same && content[0] == std::byte{0} ? 1U : 0U;
                its.same += is_same && content[0] != std::byte{0} ? 1U : 0U;
                its.content += is_same ? 0U : 1U;
                if (!is_same) {
                    contents[volumes_[which]->domain()].insert(content);
                }
            }
            const ZramStatistics said = volumes_[which]->statistics();
            its.raw = said.raw;  // what the encoder makes of a page is not this model's
            its.packed = said.packed;
            ASSERT_EQ(said, its);
            truth.stored += its.stored;
            truth.content += its.content;
        }
        const ZramUse use = store.use();
        ASSERT_EQ(use.pages.stored, truth.stored);
        const std::size_t objects = contents["even"].size() + contents["odd"].size();
        ASSERT_EQ(use.sharing.objects, objects);
        ASSERT_EQ(use.sharing.shared, truth.content - objects);
        ASSERT_LE(use.used, use.limit);
    }

    /// Lets go of all volumes; find_again() has those of the store that was opened then.
    std::array<bool, 4> let_go() {
        std::array<bool, kVolumes> had{};
        for (std::size_t which = 0; which < kVolumes; ++which) {
            had[which] = std::exchange(volumes_[which], nullptr) != nullptr;
        }
        return had;
    }
    void find_again(ZramStore& store, const std::array<bool, 4>& had) {
        for (std::size_t which = 0; which < kVolumes; ++which) {
            if (had[which]) {
                auto found = store.find("v" + std::to_string(which));
                ASSERT_TRUE(found.has_value());
                volumes_[which] = *found;
            }
        }
    }

private:
    static constexpr std::size_t kVolumes = 4;
    static constexpr std::uint64_t kPages = 3000;

    Page content() {
        switch (random_() % 8) {
            case 0:
                return filled(0);
            case 1:
                return filled(static_cast<int>(random_() % 3));
            case 2:
                return noise(random_() % 500);
            default:
                return packable(random_() % 2000, 20 + random_() % 40 * 100);
        }
    }
    void discard(ZramVolume& volume, std::map<std::uint64_t, Page>& pages, std::uint64_t page) {
        const std::uint64_t count =
            std::min<std::uint64_t>(random_() % 400, volume.capacity().value() - page);
        ASSERT_EQ(volume.discard(Pages(page), Pages(count)), IoStatus::Ok);
        pages.erase(pages.lower_bound(page), pages.lower_bound(page + count));
    }
    void zero(ZramVolume& volume, std::map<std::uint64_t, Page>& pages, std::uint64_t page) {
        const std::uint64_t count =
            std::min<std::uint64_t>(random_() % 100, volume.capacity().value() - page);
        ASSERT_EQ(volume.write_zeroes(Pages(page), Pages(count)), IoStatus::Ok);
        for (std::uint64_t i = page; i < page + count; ++i) {
            pages[i] = filled(0);
        }
    }

    std::mt19937_64 random_;
    std::array<std::shared_ptr<ZramVolume>, kVolumes> volumes_;
    std::array<std::map<std::uint64_t, Page>, kVolumes> pages_;
};

// PEPITA_STORE_STEPS=1000000 for the long run.
std::uint64_t steps() {
    const char* asked = std::getenv("PEPITA_STORE_STEPS");
    return asked != nullptr ? std::strtoull(asked, nullptr, 10) : 60'000;
}

TEST(ZramStore, AgreesWithAModelAfterManyRandomOperations) {
    const auto store = make_store(256_MiB);
    Model model(1);
    std::uint64_t compacted = 0;
    for (std::uint64_t i = 0; i < steps(); ++i) {
        ASSERT_NO_FATAL_FAILURE(model.step(*store)) << "step " << i;
        if (i % 3000 == 0) {
            store->mark_idle();
        } else if (i % 3000 > 2000 && i % 100 == 0) {
            compacted += store->compact_idle(Pages(40))->pages;
        }
        if (i % 20'000 == 0) {
            ASSERT_NO_FATAL_FAILURE(model.check(*store)) << "step " << i;
        }
    }
    ASSERT_NO_FATAL_FAILURE(model.check(*store));
    EXPECT_GT(compacted, 1000U);
}

TEST(ZramStore, IsTheSameAfterItWasOpenedAnew) {
    const Fd file = memory_file();
    auto store = *ZramStore::create(*duplicate(file.ref()), 256_MiB);
    Model model(2);
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < (kIsSanitized ? 800 : 4'000); ++i) {
            ASSERT_NO_FATAL_FAILURE(model.step(*store)) << "step " << i;
        }
        const ZramUse before = store->use();
        const std::array<bool, 4> had = model.let_go();
        store.reset();
        auto opened = ZramStore::open(*duplicate(file.ref()));
        ASSERT_TRUE(opened.has_value()) << opened.error().message();
        store = *opened;
        ASSERT_NO_FATAL_FAILURE(model.find_again(*store, had));
        ASSERT_NO_FATAL_FAILURE(model.check(*store));
        const ZramUse after = store->use();
        EXPECT_EQ(after.pages, before.pages);
        EXPECT_EQ(after.sharing, before.sharing);
        // Indexes are as large as they need to be again.
        EXPECT_LE(after.used.value(), before.used.value() * 11 / 10);
    }
}

TEST(ZramStore, ManyThreadsWriteReadAndDiscard) {
    const auto store = make_store(128_MiB);
    const auto volume = make_volume(*store, "a", 4096);
    constexpr int threads = 4;
    constexpr std::uint64_t own = 512;
    std::atomic<int> wrong{0};
    {
        std::vector<Thread> running;
        for (int t = 0; t < threads; ++t) {
            running.push_back(*Thread::start("writer", [&, t] {
                std::mt19937_64 random(static_cast<std::uint64_t>(t));
                std::map<std::uint64_t, Page> mine;
                for (int i = 0; i < (kIsSanitized ? 1'500 : 10'000); ++i) {
                    // Pages of its own, but contents that others have as well.
                    const std::uint64_t page =
                        static_cast<std::uint64_t>(t) + random() % own * threads;
                    if (random() % 8 == 0) {
                        wrong += volume->discard(Pages(page), Pages(1)) == IoStatus::Ok ? 0 : 1;
                        mine.erase(page);
                        continue;
                    }
                    if (mine.contains(page)) {
                        Page got{};
                        wrong += volume->read(Pages(page), got) == IoStatus::Ok ? 0 : 1;
                        wrong += got == mine[page] ? 0 : 1;
                    }
                    mine[page] = packable(random() % 300, 200 + random() % 4 * 900);
                    wrong += volume->write(Pages(page), mine[page]) == IoStatus::Ok ? 0 : 1;
                    if (i % 500 == 0) {
                        store->mark_idle();
                    } else if (i % 50 == 0) {
                        wrong += store->compact_idle(Pages(20)).has_value() ? 0 : 1;
                    }
                }
                for (const auto& [page, content] : mine) {
                    wrong += read(*volume, page) == content ? 0 : 1;
                }
            }));
        }
    }
    EXPECT_EQ(wrong, 0);
    ASSERT_EQ(volume->discard(Pages(0), Pages(4096)), IoStatus::Ok);
    EXPECT_EQ(store->use().sharing, ZramSharing{});
    EXPECT_EQ(store->use().pages, ZramStatistics{});
}

// What a page holds says which page it is, and which of the writes to it.
Page stamped(std::uint64_t page, std::uint64_t round) {
    Page content = round % 3 == 0 ? packable(page, 900) : packable(page % 7, 2000);
    std::memcpy(content.data(), &page, sizeof(page));
    std::memcpy(content.data() + 8, &round, sizeof(round));
    return content;
}

struct Write {
    std::uint64_t page, round;
};

/// Writes and says so until it is killed.
[[noreturn]] void write_for_ever(FdRef file, FdRef told, std::uint64_t seed, bool is_new) {
    auto store =
        is_new ? ZramStore::create(*duplicate(file), 32_MiB) : ZramStore::open(*duplicate(file));
    auto volume = is_new ? (*store)->create_volume({.name = "a", .capacity = Pages(2000)})
                         : (*store)->find("a");
    std::mt19937_64 random(seed);
    for (std::uint64_t round = seed << 32U;; ++round) {
        const Write write{.page = random() % 2000, .round = round};
        if (random() % 16 == 0) {
            (void)(*volume)->write_zeroes(Pages(2000 - 1), Pages(1));
        }
        if (write.page == 1999 ||
            (*volume)->write(Pages(write.page), stamped(write.page, write.round)) != IoStatus::Ok) {
            continue;
        }
        if (::write(told.number(), &write, sizeof(write)) != sizeof(write)) {
            ::_exit(1);
        }
    }
}

TEST(ZramStore, NoAcknowledgedWriteIsLostWhenItsProcessIsKilled) {
    const Fd file = memory_file();
    std::map<std::uint64_t, std::uint64_t> acknowledged;  // round, by page
    std::mt19937 random(3);
    for (std::uint64_t kill = 0; kill < (kIsSanitized ? 5 : 30); ++kill) {
        std::array<int, 2> ends{};
        ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        Fd told(ends[0]);
        Fd tell(ends[1]);
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            write_for_ever(file.ref(), tell.ref(), kill, kill == 0);
        }
        tell = Fd();
        const std::size_t enough = 200 + random() % 3000;
        std::size_t seen = 0;
        Write write{};
        while (::read(told.ref().number(), &write, sizeof(write)) == sizeof(write)) {
            acknowledged[write.page] = write.round;
            if (++seen == enough) {
                ASSERT_EQ(::kill(child, SIGKILL), 0);  // what it still told is read
            }
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));
        auto store = ZramStore::open(*duplicate(file.ref()));
        ASSERT_TRUE(store.has_value()) << store.error().message();
        const auto volume = *(*store)->find("a");
        for (const auto& [page, round] : acknowledged) {
            const Page got = read(*volume, page);
            Write stamp{};
            std::memcpy(&stamp, got.data(), sizeof(stamp));
            ASSERT_EQ(stamp.page, page);
            // Or one that was on its way, and was not told any more.
            ASSERT_GE(stamp.round, round);
            ASSERT_EQ(got, stamped(page, stamp.round));
        }
    }
}

TEST(ZramStore, DamagedFilesAreRefusedOrSound) {
    const Fd file = memory_file();
    {
        const auto store = *ZramStore::create(*duplicate(file.ref()), 4_MiB);
        const auto volume = make_volume(*store, "a", 3000);
        for (std::uint64_t page = 0; page < 600; ++page) {
            ASSERT_EQ(volume->write(Pages(page), packable(page, 900)), IoStatus::Ok);
        }
    }
    struct stat status{};
    ASSERT_EQ(::fstat(file.ref().number(), &status), 0);
    std::mt19937_64 random(11);
    std::size_t refused = 0;
    for (int round = 0; round < (kIsSanitized ? 60 : 300); ++round) {
        const Fd copy = memory_file();
        ASSERT_EQ(::ftruncate(copy.ref().number(), status.st_size), 0);
        std::vector<std::byte> bytes(2_MiB .value());
        ASSERT_GT(::pread(file.ref().number(), bytes.data(), bytes.size(), 0), 0);
        for (std::uint64_t hits = 1 + random() % 8; hits > 0; --hits) {
            // Where frames begin and end is where structure is.
            const std::uint64_t frame =
                random() % (bytes.size() / zram::kFrameBytes) * zram::kFrameBytes;
            const std::uint64_t at =
                random() % 2 == 0 ? random() % 128 : zram::kFrameBytes - 1 - random() % 256;
            bytes[frame + at] = static_cast<std::byte>(random());
        }
        ASSERT_GT(::pwrite(copy.ref().number(), bytes.data(), bytes.size(), 0), 0);
        auto store = ZramStore::open(*duplicate(copy.ref()));
        if (!store) {
            ++refused;
            EXPECT_EQ(store.error().code(), Code::DataLoss);
            continue;
        }
        for (const auto& volume : (*store)->volumes()) {
            Page page{};
            for (std::uint64_t i = 0; i < std::min<std::uint64_t>(700, volume->capacity().value());
                 ++i) {
                (void)volume->read(Pages(i), page);  // Failed, or a page; never outside
            }
            (void)volume->write(Pages(0), noise(1));
            (void)volume->discard(Pages(0), volume->capacity());
        }
    }
    EXPECT_GT(refused, kIsSanitized ? 2U : 10U);
}

TEST(ZramStore, OpensNoFileThatIsNone) {
    EXPECT_EQ(ZramStore::open(memory_file()).error().code(), Code::DataLoss);
    EXPECT_EQ(ZramStore::open(Fd(::open("/dev/zero", O_RDWR))).error().code(),
              Code::InvalidArgument);
    const Fd file = memory_file();
    (void)*ZramStore::create(*duplicate(file.ref()), 4_MiB);
    ASSERT_EQ(::ftruncate(file.ref().number(), 1 << 20), 0);
    EXPECT_EQ(ZramStore::open(*duplicate(file.ref())).error().code(), Code::DataLoss);
}

}  // namespace
}  // namespace pepita::storage
