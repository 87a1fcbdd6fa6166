#include "storage/daemon/store_backing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {
namespace {

using api::StorageStats;
using api::VolumeKind;
using api::VolumeSpec;

class StoreBackingTest : public testing::Test {
protected:
    StoreBackingTest() {
        std::string name = testing::TempDir() + "backing_XXXXXX";
        directory_ = ::mkdtemp(name.data());
        store_ = *open_store(memory(), 16_MiB);
        backing_ = std::make_unique<StoreBacking>(store_);
    }
    ~StoreBackingTest() override {
        backing_.reset();
        store_.reset();
        std::filesystem::remove_all(directory_);
    }
    StoreBackingTest(const StoreBackingTest&) = delete;
    StoreBackingTest& operator=(const StoreBackingTest&) = delete;
    StoreBackingTest(StoreBackingTest&&) = delete;
    StoreBackingTest& operator=(StoreBackingTest&&) = delete;

    std::string memory() const { return directory_ + "/memory"; }
    /// A file of `text`, by its path.
    std::string file(const std::string& text) const {
        const std::string path = directory_ + "/file";
        EXPECT_TRUE(replace_file(FdRef(AT_FDCWD), path, text, 0600).has_value());
        return path;
    }
    static VolumeSpec zram(const std::string& name, Bytes capacity) {
        return {.name = name, .capacity = capacity, .file = ""};
    }
    static VolumeSpec of_file(VolumeKind kind, const std::string& path) {
        return {.name = "f", .kind = kind, .capacity = Bytes(0), .file = path};
    }

    std::string directory_;
    std::shared_ptr<ZramStore> store_;
    std::unique_ptr<StoreBacking> backing_;
};

TEST_F(StoreBackingTest, NumbersAreTheStores) {
    const VolumeSpec volume = zram("web", 1_MiB);
    EXPECT_EQ(backing_->create(volume).value(), 1_MiB);
    const auto written = store_->find("web").value();
    const std::vector<std::byte> ones(4096, std::byte{1});
    const std::vector<std::byte> zeros(4096);
    ASSERT_EQ(written->write(Pages(0), ones), IoStatus::Ok);
    ASSERT_EQ(written->write(Pages(1), zeros), IoStatus::Ok);
    EXPECT_EQ(backing_->pages(volume),
              (api::PageCounts{.stored = 2, .zero = 1, .same = 1, .packed = Bytes(0)}));
    const api::StorageStats stats = backing_->stats();
    EXPECT_EQ(stats.store.pages.stored, 2U);
    EXPECT_EQ(stats.store.limit, 16_MiB);
    EXPECT_EQ(stats.store.used, store_->use().used);
    ASSERT_EQ(stats.domains.size(), 1U);
    EXPECT_EQ(stats.domains[0].domain, "default");
    EXPECT_EQ(stats.domains[0].pages.stored, 2U);
}

TEST_F(StoreBackingTest, CapacitiesAreWholePagesInBounds) {
    EXPECT_EQ(backing_->create(zram("a", Bytes(4097))).error().code(), Code::InvalidArgument);
    EXPECT_EQ(backing_->create(zram("a", Bytes(0))).error().code(), Code::InvalidArgument);
    const Bytes most = to_bytes(ZramVolume::kCapacityMax);
    EXPECT_EQ(backing_->create(zram("a", most + kPageSize)).error().message(),
              "capacity 131072004096: must be whole pages of 4096 bytes, and 131072000000 at the "
              "most");
    EXPECT_TRUE(backing_->create(zram("a", Bytes(4096))).has_value());
    EXPECT_EQ(backing_->resize(zram("a", {}), Bytes(1)).error().code(), Code::InvalidArgument);
    EXPECT_TRUE(backing_->resize(zram("a", {}), Bytes(8192)).has_value());
    EXPECT_EQ(backing_->kept()[0].capacity, Bytes(8192));
}

TEST_F(StoreBackingTest, AnotherProcessFindsTheVolumesInTheFile) {
    ASSERT_TRUE(backing_->create(zram("web", 1_MiB)).has_value());
    ASSERT_TRUE(backing_->create(zram("gone", 1_MiB)).has_value());
    ASSERT_TRUE(backing_->remove(zram("gone", {})).has_value());
    EXPECT_TRUE(backing_->remove(zram("gone", {})).has_value());
    backing_.reset();
    store_.reset();
    const StoreBacking again(open_store(memory(), 1_MiB).value());
    const std::vector<Backing::Kept> kept = again.kept();
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_EQ(kept[0].name, "web");
    EXPECT_EQ(kept[0].kind, VolumeKind::Zram);
    EXPECT_EQ(kept[0].capacity, 1_MiB);
    EXPECT_EQ(kept[0].domain, "default");
    EXPECT_EQ(again.stats().store.limit, 16_MiB);  // the file's own
}

TEST_F(StoreBackingTest, AFileThatHoldsNoStoreIsDataLossAndStays) {
    const std::string path = file("something else");
    const auto opened = open_store(path, 16_MiB);
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code(), Code::DataLoss);
    EXPECT_EQ(read_file(path).value(), "something else");
}

TEST_F(StoreBackingTest, AFileIsAsLongAsItIs) {
    const std::string path = file(std::string(1024, 'x'));
    EXPECT_EQ(backing_->create(of_file(VolumeKind::File, path)).value(), Bytes(1024));
    VolumeSpec other = of_file(VolumeKind::File, path);
    other.capacity = Bytes(2048);
    EXPECT_EQ(backing_->create(other).error().message(), "'" + path + "' has 1024 bytes, not 2048");
    EXPECT_TRUE(backing_->kept().empty());
    EXPECT_EQ(backing_->resize(other, Bytes(4096)).error().code(), Code::Unsupported);
    EXPECT_TRUE(backing_->remove(other).has_value());
    EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(StoreBackingTest, AnOverlayIsAsLongAsItsBaseOrLonger) {
    const std::string path = file(std::string(8192, 'x'));
    EXPECT_EQ(backing_->create(of_file(VolumeKind::Overlay, path)).value(), Bytes(8192));
    EXPECT_EQ(backing_->kept().size(), 1U);
    VolumeSpec other = of_file(VolumeKind::Overlay, path);
    other.name = "other";
    other.capacity = Bytes(4096);
    EXPECT_EQ(backing_->create(other).error().message(),
              "'" + path + "' has 8192 bytes, not 4096 or less");
    other.capacity = 1_MiB;
    EXPECT_EQ(backing_->create(other).value(), 1_MiB);
    EXPECT_EQ(backing_->open(other, false).value()->capacity(), Sectors(2048));
}

TEST_F(StoreBackingTest, AFileIsOpenedPastThePageCacheWhereAsked) {
    // Of the test's own folder: this kernel's tmpfs may not have O_DIRECT.
    const std::string path = "direct_test.img";
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), path, std::string(8192, 'x'), 0600).has_value());
    VolumeSpec volume = of_file(VolumeKind::File, path);
    EXPECT_TRUE(backing_->open(volume, false).value()->file().has_value());
    volume.direct = true;
    const auto size = backing_->create(volume);
    if (!size && size.error().code() == Code::InvalidArgument) {
        std::filesystem::remove(path);
        GTEST_SKIP() << "the working directory's file system has no O_DIRECT";
    }
    EXPECT_EQ(size.value(), Bytes(8192));
    // Such a disk lends no file: a request would have to lie as the file wants it.
    EXPECT_FALSE(backing_->open(volume, false).value()->file().has_value());
    EXPECT_FALSE(backing_->open(volume, true).value()->file().has_value());
    std::filesystem::remove(path);
}

TEST_F(StoreBackingTest, ASnapshotComesBackAsAnotherVolume) {
    ASSERT_TRUE(backing_->create(zram("web", 1_MiB)).has_value());
    const std::vector<std::byte> ones(4096, std::byte{1});
    ASSERT_EQ(store_->find("web").value()->write(Pages(9), ones), IoStatus::Ok);
    const Fd kept = *open_file((directory_ + "/snapshot").c_str(), O_RDWR | O_CREAT);
    ASSERT_TRUE(backing_->snapshot(zram("web", {}), kept.ref()).has_value());
    EXPECT_EQ(backing_->restore(zram("web", {}), kept.ref()).error().code(),
              Code::FailedPrecondition);
    ASSERT_TRUE(backing_->create(zram("again", 1_MiB)).has_value());
    ASSERT_TRUE(backing_->restore(zram("again", {}), kept.ref()).has_value());
    std::vector<std::byte> got(4096);
    ASSERT_EQ(store_->find("again").value()->read(Pages(9), got), IoStatus::Ok);
    EXPECT_EQ(got, ones);
}

TEST_F(StoreBackingTest, S3_ASnapshotIsRestoredOverWhatItWasMadeOverAndNothingElse) {
    const std::string path = file(std::string(8192, 'x'));
    VolumeSpec over = of_file(VolumeKind::Overlay, path);
    ASSERT_TRUE(backing_->create(over).has_value());
    const std::vector<std::byte> ones(4096, std::byte{1});
    ASSERT_EQ(store_->find("f").value()->write(Pages(1), ones), IoStatus::Ok);
    const Fd kept = *open_file((directory_ + "/snapshot").c_str(), O_RDWR | O_CREAT);
    ASSERT_TRUE(backing_->snapshot(over, kept.ref()).has_value());

    ASSERT_TRUE(backing_->create(zram("disk", Bytes(8192))).has_value());
    EXPECT_EQ(backing_->restore(zram("disk", {}), kept.ref()).error().message(),
              "it is a snapshot of an overlay, and volume 'disk' lies over nothing");
    EXPECT_EQ(store_->find("disk").value()->statistics().stored, 0U);

    over.name = "again";
    ASSERT_TRUE(backing_->create(over).has_value());
    ASSERT_TRUE(backing_->restore(over, kept.ref()).has_value());
    EXPECT_TRUE(store_->find("again").value()->contains(Pages(1)));

    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), path, std::string(8192, 'y'), 0600).has_value());
    over.name = "elsewhere";
    ASSERT_TRUE(backing_->create(over).has_value());
    EXPECT_EQ(backing_->restore(over, kept.ref()).error().code(), Code::FailedPrecondition);

    const Fd whole = *open_file((directory_ + "/whole").c_str(), O_RDWR | O_CREAT);
    ASSERT_TRUE(backing_->snapshot(zram("disk", {}), whole.ref()).has_value());
    EXPECT_EQ(backing_->restore(over, whole.ref()).error().message(),
              "it is a snapshot of a whole disk, and volume 'elsewhere' is an overlay");
}

TEST_F(StoreBackingTest, S4_TheStoreSaysWhatAVolumeIs) {
    ASSERT_TRUE(
        backing_->create(of_file(VolumeKind::Overlay, file(std::string(4096, 'x')))).has_value());
    backing_.reset();
    store_.reset();
    const StoreBacking again(open_store(memory(), 1_MiB).value());
    EXPECT_EQ(again.kept()[0].kind, VolumeKind::Overlay);
}

TEST_F(StoreBackingTest, S1_TheRoomOfTheMemoryFileIsKnown) {
    const auto room = room_of(memory());
    ASSERT_TRUE(room.has_value()) << room.error().message();
    if (*room) {
        EXPECT_GT((*room)->value(), 0U);
    }
    EXPECT_EQ(room_of(directory_ + "/none").error().code(), Code::NotFound);
}

TEST_F(StoreBackingTest, EachKindIsADisk) {
    const std::string path = file(std::string(8192, 'x'));
    ASSERT_TRUE(backing_->create(zram("web", 1_MiB)).has_value());
    ASSERT_TRUE(backing_->create(of_file(VolumeKind::Overlay, path)).has_value());
    const auto disk = [&](const VolumeSpec& volume, bool read_only) {
        return backing_->open(volume, read_only).value();
    };
    EXPECT_EQ(disk(zram("web", {}), false)->capacity(), Sectors(2048));
    EXPECT_EQ(disk(zram("web", {}), true)->access(), Access::ReadOnly);
    EXPECT_EQ(disk(of_file(VolumeKind::Overlay, path), false)->access(), Access::ReadWrite);
    EXPECT_EQ(disk(of_file(VolumeKind::File, path), true)->capacity(), Sectors(16));
}

TEST_F(StoreBackingTest, WhatIsNoDiskIsRefused) {
    const auto create = [&](const std::string& path) {
        return backing_->create(of_file(VolumeKind::File, path)).error().code();
    };
    EXPECT_EQ(create(directory_ + "/none"), Code::NotFound);
    EXPECT_EQ(create("/dev/null"), Code::InvalidArgument);
    EXPECT_EQ(create(file("")), Code::InvalidArgument);
    EXPECT_EQ(create(file("513")), Code::InvalidArgument);
}

TEST_F(StoreBackingTest, WhatIsIdleBecomesCold) {
    ASSERT_TRUE(backing_->create(zram("a", 1_MiB)).has_value());
    const auto volume = *store_->find("a");
    std::array<std::byte, 4096> page{};
    std::mt19937 random(1);
    for (std::byte& byte : page) {  // zstd packs it to half, LZ4 does not
        byte = static_cast<std::byte>('a' + random() % 16);
    }
    ASSERT_EQ(volume->write(Pages(0), page), IoStatus::Ok);
    EXPECT_EQ(backing_->stats().store.cold, 0U);
    backing_->mark_idle();
    const auto done = backing_->compact_idle(Pages(256));
    ASSERT_TRUE(done.has_value()) << done.error().message();
    EXPECT_TRUE(done->is_done);
    const StorageStats stats = backing_->stats();
    EXPECT_EQ(stats.store.cold, 1U);
    EXPECT_GT(stats.store.cold_payload, Bytes(0));
    EXPECT_LE(stats.store.cold_payload, stats.store.payload);
}

}  // namespace
}  // namespace pepita::storage::daemon
