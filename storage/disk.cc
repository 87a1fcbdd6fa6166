#include "storage/disk.h"

#include <fcntl.h>

#include <memory>
#include <optional>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "storage/overlay_device.h"
#include "storage/read_only_device.h"
#include "storage/zram_device.h"
#include "storage/zram_store.h"

namespace pepita::storage {
namespace {

class ZramDisk final : public Disk {
public:
    ZramDisk(std::shared_ptr<ZramVolume> volume, Access access)
        : volume_(std::move(volume)), access_(access) {}
    Sectors capacity() const override { return to_sectors(volume_->capacity()); }
    Access access() const override { return access_; }
    Result<std::unique_ptr<BlockDevice>> open(EventLoop& /*loop*/) override {
        return std::unique_ptr<BlockDevice>(std::make_unique<ZramDevice>(volume_, access_));
    }

private:
    std::shared_ptr<ZramVolume> volume_;
    Access access_;
};

class FileDisk final : public Disk {
public:
    FileDisk(Fd file, Access access, Sectors capacity)
        : file_(std::move(file)), access_(access), capacity_(capacity) {}
    Sectors capacity() const override { return capacity_; }
    Access access() const override { return access_; }
    Result<std::unique_ptr<BlockDevice>> open(EventLoop& loop) override {
        Fd file = TRY(duplicate(file_.ref()));
        return std::unique_ptr<BlockDevice>(
            TRY(FileDevice::create(std::move(file), access_, loop)));
    }
    std::optional<FdRef> file() const override {
        // Past the page cache a request has to lie as the file wants it; the FileDevice sees to it.
        const bool is_direct = (::fcntl(file_.ref().number(), F_GETFL) & O_DIRECT) != 0;
        return is_direct ? std::nullopt : std::optional(file_.ref());
    }

private:
    Fd file_;
    Access access_;
    Sectors capacity_;
};

class OverlayDisk final : public Disk {
public:
    OverlayDisk(std::shared_ptr<Disk> base, std::shared_ptr<ZramVolume> upper)
        : base_(std::move(base)), upper_(std::move(upper)) {}
    Sectors capacity() const override { return to_sectors(upper_->capacity()); }
    Access access() const override { return Access::ReadWrite; }
    Result<std::unique_ptr<BlockDevice>> open(EventLoop& loop) override {
        return std::unique_ptr<BlockDevice>(
            std::make_unique<OverlayDevice>(loop, TRY(base_->open(loop)), upper_));
    }

private:
    std::shared_ptr<Disk> base_;
    std::shared_ptr<ZramVolume> upper_;
};

class ReadOnlyDisk final : public Disk {
public:
    explicit ReadOnlyDisk(std::shared_ptr<Disk> disk) : disk_(std::move(disk)) {}
    Sectors capacity() const override { return disk_->capacity(); }
    Access access() const override { return Access::ReadOnly; }
    Result<std::unique_ptr<BlockDevice>> open(EventLoop& loop) override {
        return std::unique_ptr<BlockDevice>(
            std::make_unique<ReadOnlyDevice>(TRY(disk_->open(loop))));
    }
    std::optional<FdRef> file() const override { return disk_->file(); }

private:
    std::shared_ptr<Disk> disk_;
};

}  // namespace

std::shared_ptr<Disk> zram_disk(std::shared_ptr<ZramVolume> volume, Access access) {
    return std::make_shared<ZramDisk>(std::move(volume), access);
}

Result<std::shared_ptr<Disk>> file_disk(Fd file, Access access) {
    const Sectors capacity = TRY(FileDevice::check(file.ref(), access));
    return std::shared_ptr<Disk>(std::make_shared<FileDisk>(std::move(file), access, capacity));
}

Result<std::shared_ptr<Disk>> overlay_disk(std::shared_ptr<Disk> base,
                                           std::shared_ptr<ZramVolume> upper) {
    if (base->access() != Access::ReadOnly) {
        return Error(Code::InvalidArgument, "an overlay's base must be read-only");
    }
    return std::shared_ptr<Disk>(std::make_shared<OverlayDisk>(std::move(base), std::move(upper)));
}

std::shared_ptr<Disk> read_only_disk(std::shared_ptr<Disk> disk) {
    return std::make_shared<ReadOnlyDisk>(std::move(disk));
}

}  // namespace pepita::storage
