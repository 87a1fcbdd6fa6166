#include "storage/zram_snapshot.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <random>
#include <span>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram_store.h"
#include "test/support/fake_zram_volume.h"

namespace pepita::storage {
namespace {

using test::FakeZramVolume;
using Page = FakeZramVolume::Page;

Fd new_file() { return Fd(::memfd_create("snapshot", MFD_CLOEXEC)); }

Page filled(int byte) {
    Page page;
    page.fill(static_cast<std::byte>(byte));
    return page;
}

/// Noise, and zeros behind it: packs to about `size` bytes.
Page noise(std::uint64_t seed, std::size_t size = 4096) {
    std::mt19937_64 random(seed);
    Page page{};
    for (std::size_t at = 0; at < size; at += 8) {
        const std::uint64_t word = random();
        std::memcpy(&page[at], &word, 8);
    }
    return page;
}

Fd saved(FakeZramVolume& volume) {
    Fd file = new_file();
    const auto done = save_snapshot(volume, file.ref());
    EXPECT_TRUE(done.has_value()) << done.error().message();
    return file;
}

Fd saved(FakeZramVolume&& volume) { return saved(volume); }

/// A volume with pages of every kind.
class SomeVolume {
public:
    SomeVolume() {
        std::mt19937 random(7);
        for (std::uint64_t i = 0; i < 900; ++i) {
            its.pages[random() % 5000] = noise(random() % 300, 8 + random() % 4 * 1024);
        }
        for (std::uint64_t i = 0; i < 200; ++i) {
            its.pages[1000 + i] = filled(i < 150 ? 0 : 9);
        }
        its.pages[4999] = noise(77);
    }
    FakeZramVolume its{Pages(5000)};
};

TEST(ZramSnapshot, BringsBackEachPageAndWhichOnesThereWere) {
    SomeVolume some;
    FakeZramVolume& volume = some.its;
    const Fd file = saved(volume);
    EXPECT_EQ(*snapshot_capacity(file.ref()), Pages(5000));
    FakeZramVolume loaded(Pages(5000));
    const auto done = load_snapshot(file.ref(), loaded);
    ASSERT_TRUE(done.has_value()) << done.error().message();
    EXPECT_EQ(loaded.pages, volume.pages);
}

TEST(ZramSnapshot, GoesFromOneStoreToAnother) {
    SomeVolume some;
    const auto store = *ZramStore::create(new_file(), 64_MiB);
    const auto volume = *store->create_volume({.name = "disk", .capacity = Pages(5000)});
    ASSERT_TRUE(load_snapshot(saved(some.its).ref(), *volume).has_value());
    const Fd file = new_file();
    ASSERT_TRUE(save_snapshot(*volume, file.ref()).has_value());
    FakeZramVolume loaded(Pages(5000));
    ASSERT_TRUE(load_snapshot(file.ref(), loaded).has_value());
    EXPECT_EQ(loaded.pages, some.its.pages);

    const auto full = *ZramStore::create(new_file(), 1_MiB);
    const auto small = *full->create_volume({.name = "disk", .capacity = Pages(5000)});
    const Bytes before = full->use().used;
    EXPECT_EQ(load_snapshot(file.ref(), *small).error().code(), Code::ResourceExhausted);
    EXPECT_EQ(small->statistics(), ZramStatistics{});
    EXPECT_LT(full->use().used, before + 64_KiB);  // the indexes have grown
}

TEST(ZramSnapshot, AnEmptyVolumeHasOneToo) {
    FakeZramVolume volume(Pages(1));
    FakeZramVolume loaded(Pages(1));
    ASSERT_TRUE(load_snapshot(saved(volume).ref(), loaded).has_value());
    EXPECT_TRUE(loaded.pages.empty());
}

TEST(ZramSnapshot, PagesThatPackToAboutAPage) {
    FakeZramVolume volume(Pages(200));
    for (std::uint64_t i = 0; i < 200; ++i) {
        volume.pages[i] = noise(i);
        std::copy_n(volume.pages[i].begin(), i, volume.pages[i].begin() + 2000);
    }
    FakeZramVolume loaded(Pages(200));
    const auto done = load_snapshot(saved(volume).ref(), loaded);
    ASSERT_TRUE(done.has_value()) << done.error().message();
    EXPECT_EQ(loaded.pages, volume.pages);
}

TEST(ZramSnapshot, EqualPagesAndRunsCostNextToNothing) {
    FakeZramVolume volume(Pages(20'000));
    for (std::uint64_t i = 0; i < 3000; ++i) {
        volume.pages[i] = noise(i % 100);  // over several sections: 100 contents of 4 KiB
    }
    for (std::uint64_t i = 5000; i < 15'000; ++i) {
        volume.pages[i] = filled(i < 9000 ? 0 : 3);
    }
    const Fd file = saved(volume);
    EXPECT_LT(*file_size(file.ref()), 450_KiB);
    FakeZramVolume loaded(Pages(20'000));
    ASSERT_TRUE(load_snapshot(file.ref(), loaded).has_value());
    EXPECT_EQ(loaded.pages, volume.pages);
}

TEST(ZramSnapshot, ManySectionsAndCopiesFromFarBefore) {
    FakeZramVolume volume(Pages(3000));
    for (std::uint64_t i = 0; i < 3000; ++i) {
        volume.pages[i] = noise(i % 1500);  // 6 MiB before the first one comes again
    }
    const Fd file = saved(volume);
    EXPECT_LT(*file_size(file.ref()), Bytes(6'900'000));
    FakeZramVolume loaded(Pages(3000));
    ASSERT_TRUE(load_snapshot(file.ref(), loaded).has_value());
    EXPECT_EQ(loaded.pages, volume.pages);
}

TEST(ZramSnapshot, NeedsAnEmptyFileAndAnEmptyVolumeThatIsLargeEnough) {
    SomeVolume some;
    FakeZramVolume& volume = some.its;
    const Fd file = saved(volume);
    EXPECT_EQ(save_snapshot(volume, file.ref()).error().code(), Code::InvalidArgument);
    FakeZramVolume used(Pages(5000));
    used.pages[3] = filled(0);
    EXPECT_EQ(load_snapshot(file.ref(), used).error().code(), Code::FailedPrecondition);
    EXPECT_EQ(used.pages.size(), 1U);
    FakeZramVolume small(Pages(4999));
    EXPECT_EQ(load_snapshot(file.ref(), small).error().code(), Code::InvalidArgument);
    EXPECT_TRUE(small.pages.empty());
    FakeZramVolume larger(Pages(9000));
    EXPECT_TRUE(load_snapshot(file.ref(), larger).has_value());
    FakeZramVolume removed(Pages(0));
    EXPECT_EQ(save_snapshot(removed, new_file().ref()).error().code(), Code::NotFound);
}

TEST(ZramSnapshot, AFullStoreLeavesTheVolumeEmpty) {
    const Fd file = saved(SomeVolume().its);
    FakeZramVolume full(Pages(5000));
    full.pages_max = 500;
    EXPECT_EQ(load_snapshot(file.ref(), full).error().code(), Code::ResourceExhausted);
    EXPECT_TRUE(full.pages.empty());
}

/// What comes of a file with these bytes. The volume holds nothing where it is refused.
Result<void> load_bytes(const std::string& bytes) {
    const Fd file = new_file();
    EXPECT_TRUE(write_all(file.ref(), bytes, "snapshot").has_value());
    FakeZramVolume volume(Pages(5000));
    auto done = load_snapshot(file.ref(), volume);
    EXPECT_TRUE(done || volume.pages.empty());
    return done;
}

std::string bytes_of(const Fd& file) {
    std::string bytes((*file_size(file.ref())).value(), 0);
    EXPECT_TRUE(read_exactly(file.ref(), std::as_writable_bytes(std::span(bytes)), 0).has_value());
    return bytes;
}

TEST(ZramSnapshot, OneWrongBitAnywhereIsSeen) {
    const std::string sound = bytes_of(saved(SomeVolume().its));
    ASSERT_TRUE(load_bytes(sound).has_value());
    std::mt19937 random(3);
    for (std::size_t i = 0; i < 300; ++i) {
        std::string bytes = sound;
        // The first and the last have all structure; between them stand mostly contents.
        const std::size_t at = i < 70    ? i
                               : i < 150 ? bytes.size() - 1 - (i - 70)
                                         : random() % bytes.size();
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
        const auto done = load_bytes(bytes);
        ASSERT_FALSE(done.has_value()) << "byte " << at;
        ASSERT_TRUE(done.error().code() == Code::DataLoss ||
                    done.error().code() == Code::Unsupported);
        ASSERT_TRUE(done.error().message().contains("snapshot")) << done.error().message();
    }
}

TEST(ZramSnapshot, CutOffAnywhereIsSeenAndSoIsWhatFollowsTheEnd) {
    const std::string sound = bytes_of(saved(SomeVolume().its));
    std::mt19937 random(4);
    for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t size = i < 100 ? i : random() % sound.size();
        const auto done = load_bytes(sound.substr(0, size));
        ASSERT_FALSE(done.has_value()) << size;
        ASSERT_EQ(done.error().code(), Code::DataLoss);
    }
    EXPECT_EQ(load_bytes(sound + 'x').error().message(),
              "snapshot is damaged in section 1: something follows the end");
    EXPECT_EQ(load_bytes("").error().message(), "snapshot is cut off behind byte 0");
    EXPECT_EQ(load_bytes(std::string(100, 'x')).error().message(), "not a snapshot");
}

TEST(ZramSnapshot, SectionsOfTwoSnapshotsDoNotMix) {
    FakeZramVolume volume(Pages(5000));
    volume.pages[1] = noise(1);
    const std::string one = bytes_of(saved(volume));
    volume.pages[1] = noise(2);
    std::string two = bytes_of(saved(volume));
    ASSERT_EQ(one.size(), two.size());
    const std::size_t header = 72;
    const std::size_t section = 16 + 8 + 4096 + 16;
    two.replace(header, section, one, header, section);
    EXPECT_EQ(load_bytes(two).error().message(),
              "snapshot is damaged in section 1: the end is that of another snapshot");
}

class ZramSnapshotFileTest : public testing::Test {
protected:
    ZramSnapshotFileTest() {
        EXPECT_NE(::mkdtemp(scratch_.data()), nullptr);
        directory_ = *open_file(scratch_.c_str(), O_RDONLY | O_DIRECTORY);
    }
    ~ZramSnapshotFileTest() override { std::filesystem::remove_all(scratch_); }

    std::ptrdiff_t entries() const {
        return std::distance(std::filesystem::directory_iterator(scratch_), {});
    }

    std::string scratch_ = "/tmp/pepita-snapshot-XXXXXX";
    Fd directory_;
};

TEST_F(ZramSnapshotFileTest, ANewOneTakesThePlaceOfTheOld) {
    FakeZramVolume volume(Pages(100));
    volume.pages[5] = noise(1);
    ASSERT_TRUE(replace_snapshot(volume, directory_.ref(), "disk").has_value());
    volume.pages[6] = noise(2);
    // A crash has left this behind.
    ASSERT_TRUE(replace_file(directory_.ref(), "disk.new", "half of one", 0600).has_value());
    ASSERT_TRUE(replace_snapshot(volume, directory_.ref(), "disk").has_value());
    EXPECT_EQ(entries(), 1);
    FakeZramVolume loaded(Pages(100));
    const Fd file = *open_file((scratch_ + "/disk").c_str(), O_RDONLY);
    ASSERT_TRUE(load_snapshot(file.ref(), loaded).has_value());
    EXPECT_EQ(loaded.pages, volume.pages);
}

TEST_F(ZramSnapshotFileTest, WhereItFailsTheOldOneStays) {
    FakeZramVolume volume(Pages(100));
    volume.pages[5] = noise(1);
    ASSERT_TRUE(replace_snapshot(volume, directory_.ref(), "disk").has_value());
    FakeZramVolume removed(Pages(0));
    EXPECT_EQ(replace_snapshot(removed, directory_.ref(), "disk").error().code(), Code::NotFound);
    EXPECT_EQ(entries(), 1);
    FakeZramVolume loaded(Pages(100));
    const Fd file = *open_file((scratch_ + "/disk").c_str(), O_RDONLY);
    EXPECT_TRUE(load_snapshot(file.ref(), loaded).has_value());
    const auto done = replace_snapshot(volume, directory_.ref(), "no/such/place");
    EXPECT_EQ(done.error().message(),
              "create 'no/such/place.new': No such file or directory (ENOENT)");
}

}  // namespace
}  // namespace pepita::storage
