#include "storage/disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_store.h"

namespace pepita::storage {
namespace {

class DiskTest : public testing::Test {
protected:
    Fd file() {
        Fd made(::memfd_create("disk", MFD_CLOEXEC));
        EXPECT_EQ(::ftruncate(made.ref().number(), 64 * 4096), 0);
        return made;
    }
    std::shared_ptr<ZramVolume> volume(const char* name) {
        return *store_->create_volume({.name = name, .capacity = Pages(64)});
    }
    /// Opens a door of its own for each request.
    IoStatus write(Disk& disk, std::byte what, std::uint64_t sector) {
        std::array<std::byte, 512> bytes{};
        bytes.fill(what);
        return ask(disk, [&](BlockDevice& device) {
            const BlockDevice::Segment segment = bytes;
            device.write(Sectors(sector), {&segment, 1}, 1);
            device.drain();
        });
    }
    std::byte read(Disk& disk, std::uint64_t sector) {
        std::array<std::byte, 512> bytes{};
        EXPECT_EQ(ask(disk,
                      [&](BlockDevice& device) {
                          const BlockDevice::Segment segment = bytes;
                          device.read(Sectors(sector), {&segment, 1}, 1);
                          device.drain();
                      }),
                  IoStatus::Ok);
        EXPECT_TRUE(std::ranges::all_of(bytes, [&](std::byte b) { return b == bytes[0]; }));
        return bytes[0];
    }
    IoStatus clear(Disk& disk, std::uint64_t sector) {
        return ask(disk, [&](BlockDevice& device) {
            device.discard(Sectors(sector), Sectors(1), 1);
            device.drain();
        });
    }

private:
    template <typename Request>
    IoStatus ask(Disk& disk, Request&& request) {
        auto device = disk.open(*loop_);
        EXPECT_TRUE(device.has_value());
        IoStatus status = IoStatus::Unsupported;
        (*device)->set_listener(
            [&](std::span<const IoCompletion> done) { status = done.front().status; });
        request(**device);
        return status;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::shared_ptr<ZramStore> store_ =
        *ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 8_MiB);
};

TEST_F(DiskTest, EachKindIsReadWrittenAndDiscarded) {
    const std::array disks{zram_disk(volume("a")), *file_disk(file(), Access::ReadWrite),
                           *overlay_disk(*file_disk(file(), Access::ReadOnly), volume("b"))};
    for (const std::shared_ptr<Disk>& disk : disks) {
        EXPECT_EQ(disk->capacity(), Sectors(512));
        EXPECT_EQ(disk->access(), Access::ReadWrite);
        EXPECT_EQ(write(*disk, std::byte{5}, 9), IoStatus::Ok);
        EXPECT_EQ(read(*disk, 9), std::byte{5});
        EXPECT_EQ(read(*disk, 10), std::byte{0});
        EXPECT_EQ(clear(*disk, 9), IoStatus::Ok);
        EXPECT_EQ(read(*disk, 9), std::byte{0});
        EXPECT_EQ(write(*disk, std::byte{5}, 512), IoStatus::Failed);
    }
}

TEST_F(DiskTest, AnOverlaysBaseStaysAsItIs) {
    const auto under = volume("under");
    const auto base = zram_disk(under);
    ASSERT_EQ(write(*base, std::byte{1}, 0), IoStatus::Ok);
    EXPECT_EQ(overlay_disk(base, volume("upper")).error().code(), Code::InvalidArgument);
    const auto overlay = *overlay_disk(read_only_disk(base), volume("over"));
    EXPECT_EQ(read(*overlay, 0), std::byte{1});
    ASSERT_EQ(write(*overlay, std::byte{2}, 0), IoStatus::Ok);
    EXPECT_EQ(read(*overlay, 0), std::byte{2});
    EXPECT_EQ(read(*base, 0), std::byte{1});
}

TEST_F(DiskTest, NobodyWritesThroughAReadOnlyView) {
    const auto disk = zram_disk(volume("a"));
    const auto view = read_only_disk(disk);
    EXPECT_EQ(view->access(), Access::ReadOnly);
    EXPECT_EQ(write(*view, std::byte{1}, 0), IoStatus::Failed);
    EXPECT_EQ(clear(*view, 0), IoStatus::Failed);
    ASSERT_EQ(write(*disk, std::byte{1}, 0), IoStatus::Ok);
    EXPECT_EQ(read(*view, 0), std::byte{1});
}

TEST_F(DiskTest, OnlyAFilesSectorsAreAFiles) {
    const auto disk = *file_disk(file(), Access::ReadWrite);
    EXPECT_TRUE(disk->file().has_value());
    EXPECT_EQ(read_only_disk(disk)->file()->number(), disk->file()->number());
    EXPECT_FALSE(zram_disk(volume("a"))->file().has_value());
    EXPECT_FALSE((*overlay_disk(read_only_disk(disk), volume("b")))->file().has_value());
}

TEST_F(DiskTest, RefusesAFileThatIsNone) {
    EXPECT_EQ(file_disk(Fd(::memfd_create("empty", MFD_CLOEXEC)), Access::ReadWrite).error().code(),
              Code::InvalidArgument);
    EXPECT_EQ(file_disk(Fd(::open("/dev/null", O_RDWR)), Access::ReadWrite).error().code(),
              Code::InvalidArgument);
}

TEST_F(DiskTest, CapacityIsWhatTheVolumeIsResizedTo) {
    const auto grown = volume("a");
    const auto disk = zram_disk(grown);
    ASSERT_TRUE(grown->resize(Pages(128)).has_value());
    EXPECT_EQ(disk->capacity(), Sectors(1024));
    EXPECT_EQ(write(*disk, std::byte{5}, 1023), IoStatus::Ok);
    ASSERT_TRUE(grown->resize(Pages(1)).has_value());
    EXPECT_EQ(write(*disk, std::byte{5}, 1023), IoStatus::Failed);
}

}  // namespace
}  // namespace pepita::storage
