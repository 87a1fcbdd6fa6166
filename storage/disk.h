#pragma once

#include <memory>
#include <optional>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_store.h"

namespace pepita::storage {

/// A disk that several queues share, each with a door of its own and on a thread of its own.
/// Thread: any.
class Disk {
public:
    Disk() = default;
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    Disk(Disk&&) = delete;
    Disk& operator=(Disk&&) = delete;
    virtual ~Disk() = default;

    /// It may change while doors are open; each of them keeps to it at once.
    virtual Sectors capacity() const = 0;
    virtual Access access() const = 0;
    /// One queue's door. `loop` outlives it, and is where its completions may come from. The disk
    /// may go before its doors do.
    virtual Result<std::unique_ptr<BlockDevice>> open(EventLoop& loop) = 0;
    /// The file whose sectors are the disk's, where there is one: for who can spare the copy
    /// through memory of ours. Open as long as the disk lives.
    virtual std::optional<FdRef> file() const { return std::nullopt; }
};

/// A volume of a compressed store. Its capacity is the volume's.
std::shared_ptr<Disk> zram_disk(std::shared_ptr<ZramVolume> volume,
                                Access access = Access::ReadWrite);

/// A raw file or block device, opened for what `access` says. Errors: FileDevice::create()'s.
Result<std::shared_ptr<Disk>> file_disk(Fd file, Access access);

/// What `base` holds where nothing else was written; what is written goes to `upper`, whose
/// capacity the disk has. Behind the end of `base` are zeros. What `upper` holds already counts as
/// written. Errors: InvalidArgument where `base` is not read-only.
Result<std::shared_ptr<Disk>> overlay_disk(std::shared_ptr<Disk> base,
                                           std::shared_ptr<ZramVolume> upper);

/// The same disk, which nobody writes through this.
std::shared_ptr<Disk> read_only_disk(std::shared_ptr<Disk> disk);

}  // namespace pepita::storage
