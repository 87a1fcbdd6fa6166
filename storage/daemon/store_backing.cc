#include "storage/daemon/store_backing.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/zram_snapshot.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {
namespace {

using api::PageCounts;
using api::StorageStats;
using api::StorageUse;
using api::VolumeKind;
using api::VolumeSpec;

constexpr mode_t kPrivate = 0600;

PageCounts counts_of(const ZramStatistics& statistics) {
    return {.stored = statistics.stored,
            .zero = statistics.zero,
            .same = statistics.same,
            .content = statistics.content,
            .raw = statistics.raw,
            .packed = statistics.packed};
}

StorageUse use_of(const ZramUse& use, std::string domain) {
    return {.domain = std::move(domain),
            .pages = counts_of(use.pages),
            .objects = use.sharing.objects,
            .shared = use.sharing.shared,
            .payload = use.sharing.payload,
            .cold = use.sharing.cold,
            .cold_payload = use.sharing.cold_payload,
            .used = use.used,
            .metadata = use.metadata,
            .limit = use.limit};
}

std::optional<VolumeKind> kind_of(ZramContent content) {
    switch (content) {
        case ZramContent::Disk:
            return VolumeKind::Zram;
        case ZramContent::Overlay:
            return VolumeKind::Overlay;
        case ZramContent::Unknown:
            break;
    }
    return std::nullopt;
}

/// Of an overlay.
Result<std::optional<SnapshotBase>> base_of(const VolumeSpec& volume) {
    if (volume.kind != VolumeKind::Overlay) {
        return std::optional<SnapshotBase>();
    }
    const Fd file = TRY(open_file(volume.file.c_str(), O_RDONLY));
    return std::optional(TRY(snapshot_base(file.ref()), "'", volume.file, "'"));
}

/// Errors: InvalidArgument for what the store could not have as a volume's capacity.
Result<Pages> pages_of(Bytes capacity) {
    const Bytes most = to_bytes(ZramVolume::kCapacityMax);
    if (capacity == Bytes(0) || capacity > most || capacity.value() % kPageSize.value() != 0) {
        return Error(Code::InvalidArgument, "capacity " + std::to_string(capacity.value()) +
                                                ": must be whole pages of 4096 bytes, and " +
                                                std::to_string(most.value()) + " at the most");
    }
    return Pages(capacity.value() / kPageSize.value());
}

/// A file that is to be a disk: its size in bytes.
Result<Bytes> size_of(const std::string& path, int flags) {
    const Fd file = TRY(open_file(path.c_str(), flags | O_NONBLOCK));
    struct stat found{};
    if (::fstat(file.ref().number(), &found) != 0) {
        return Error::from_errno(errno, "stat '" + path + "'");
    }
    if (!S_ISREG(found.st_mode) && !S_ISBLK(found.st_mode)) {
        return Error(Code::InvalidArgument, "'" + path + "' is no file and no block device");
    }
    const off_t size = ::lseek(file.ref().number(), 0, SEEK_END);
    if (size < 0) {
        return Error::from_errno(errno, "size of '" + path + "'");
    }
    if (size == 0 || static_cast<std::uint64_t>(size) % kSectorSize.value() != 0) {
        return Error(Code::InvalidArgument, "'" + path + "' has " + std::to_string(size) +
                                                " bytes: must be whole sectors of 512");
    }
    return Bytes(static_cast<std::uint64_t>(size));
}

/// How a file is opened that is the disk itself.
int flags_of(const VolumeSpec& volume) { return O_RDWR | (volume.direct ? O_DIRECT : 0); }

Error not_in_store(const VolumeSpec& volume) {
    return {Code::Unsupported, "volume '" + volume.name + "' is a file: only volumes in memory " +
                                   "have snapshots and other sizes"};
}

}  // namespace

Result<std::shared_ptr<ZramStore>> open_store(const std::string& memory_file, Bytes limit) {
    Fd found(::open(memory_file.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (found) {
        return TRY(ZramStore::open(std::move(found)), "memory file '", memory_file, "'");
    }
    if (errno != ENOENT) {
        return Error::from_errno(errno, "open '" + memory_file + "'");
    }
    // Under another name until it is a store: a kill must not leave half of one.
    const std::string unfinished = memory_file + ".new";
    Fd made = TRY(create_temporary(FdRef(AT_FDCWD), unfinished, kPrivate));
    auto store = TRY(ZramStore::create(std::move(made), limit), "memory file '", memory_file, "'");
    if (::rename(unfinished.c_str(), memory_file.c_str()) != 0) {
        return Error::from_errno(errno, "rename to '" + memory_file + "'");
    }
    return store;
}

Result<std::optional<Bytes>> room_of(const std::string& memory_file) {
    const Fd file = TRY(open_file(memory_file.c_str(), O_RDONLY));
    struct statvfs system{};
    struct stat its{};
    if (::fstatvfs(file.ref().number(), &system) != 0 || ::fstat(file.ref().number(), &its) != 0) {
        return Error::from_errno(errno, "statvfs '" + memory_file + "'");
    }
    if (system.f_blocks == 0) {  // a tmpfs without a size
        return std::optional<Bytes>();
    }
    return std::optional(Bytes(std::uint64_t{system.f_bavail} * system.f_frsize +
                               static_cast<std::uint64_t>(its.st_blocks) * kSectorSize.value()));
}

Result<Bytes> StoreBacking::create(const VolumeSpec& volume) {
    Bytes capacity = volume.capacity;
    if (volume.kind != VolumeKind::Zram) {
        const bool is_base = volume.kind == VolumeKind::Overlay;
        const Bytes size = TRY(size_of(volume.file, is_base ? O_RDONLY : flags_of(volume)));
        const bool is_right = is_base ? capacity >= size : capacity == size;
        if (capacity != Bytes(0) && !is_right) {
            return Error(Code::InvalidArgument, "'" + volume.file + "' has " +
                                                    std::to_string(size.value()) + " bytes, not " +
                                                    std::to_string(capacity.value()) +
                                                    (is_base ? " or less" : ""));
        }
        capacity = std::max(capacity, size);
    }
    if (volume.kind == VolumeKind::File) {
        return capacity;
    }
    TRY(store_->create_volume({.name = volume.name,
                               .capacity = TRY(pages_of(capacity)),
                               .domain = volume.domain,
                               .content = volume.kind == VolumeKind::Overlay ? ZramContent::Overlay
                                                                             : ZramContent::Disk}));
    return capacity;
}

Result<std::shared_ptr<ZramVolume>> StoreBacking::find(const VolumeSpec& volume) const {
    if (volume.kind == VolumeKind::File) {
        return not_in_store(volume);
    }
    return store_->find(volume.name);
}

Result<void> StoreBacking::resize(const VolumeSpec& volume, Bytes capacity) {
    const auto found = TRY(find(volume));
    return found->resize(TRY(pages_of(capacity)));
}

Result<std::shared_ptr<Disk>> StoreBacking::open(const VolumeSpec& volume, bool read_only) {
    if (volume.kind == VolumeKind::File) {
        const int access = read_only ? O_RDONLY : O_RDWR;
        Fd file = TRY(open_file(volume.file.c_str(), access | (flags_of(volume) & O_DIRECT)));
        return file_disk(std::move(file), read_only ? Access::ReadOnly : Access::ReadWrite);
    }
    auto found = TRY(find(volume));
    std::shared_ptr<Disk> disk = zram_disk(found);
    if (volume.kind == VolumeKind::Overlay) {
        Fd base = TRY(open_file(volume.file.c_str(), O_RDONLY));
        disk = TRY(overlay_disk(TRY(file_disk(std::move(base), Access::ReadOnly)), found));
    }
    return read_only ? read_only_disk(std::move(disk)) : disk;
}

Result<void> StoreBacking::snapshot(const VolumeSpec& volume, FdRef file) {
    const auto found = TRY(find(volume));
    return save_snapshot(*found, file, TRY(base_of(volume)));
}

Result<void> StoreBacking::restore(const VolumeSpec& volume, FdRef file) {
    const auto found = TRY(find(volume));
    return load_snapshot(file, *found, TRY(base_of(volume)));
}

Result<void> StoreBacking::remove(const VolumeSpec& volume) {
    if (volume.kind == VolumeKind::File) {
        return {};
    }
    Result<void> removed = store_->remove(volume.name);
    if (!removed && removed.error().code() == Code::NotFound) {
        return {};
    }
    return removed;
}

PageCounts StoreBacking::pages(const VolumeSpec& volume) const {
    const auto found = find(volume);
    return found ? counts_of((*found)->statistics()) : PageCounts();
}

StorageStats StoreBacking::stats() const {
    StorageStats stats{.store = use_of(store_->use(), ""), .domains = {}};
    std::set<std::string> domains;
    for (const auto& volume : store_->volumes()) {
        domains.insert(volume->domain());
    }
    for (const std::string& domain : domains) {
        if (const auto use = store_->use_of(domain)) {
            stats.domains.push_back(use_of(*use, domain));
        }
    }
    return stats;
}

Result<ZramCompaction> StoreBacking::compact_idle(Pages budget) {
    return store_->compact_idle(budget);
}

std::vector<Backing::Kept> StoreBacking::kept() const {
    std::vector<Kept> all;
    for (const auto& volume : store_->volumes()) {
        all.push_back({.name = volume->name(),
                       .kind = kind_of(volume->content()),
                       .capacity = to_bytes(volume->capacity()),
                       .domain = volume->domain()});
    }
    return all;
}

}  // namespace pepita::storage::daemon
