#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram_store.h"

// A volume's pages in a file, so that they outlive the machine's memory. Contents are packed, and
// equal pages mostly stand in it once; every byte of it is under a checksum (XXH3-128, against
// accidents: it is no signature). The format is in storage/zram/snapshot_format.h.

namespace pepita::storage {

/// XXH3-128.
struct SnapshotChecksum {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    friend bool operator==(const SnapshotChecksum&, const SnapshotChecksum&) = default;
};

/// What lies below an overlay: its snapshot holds no more than what was written over that.
struct SnapshotBase {
    Bytes size;
    SnapshotChecksum sum;
    friend bool operator==(const SnapshotBase&, const SnapshotBase&) = default;
};

/// Thread: any. Cost: reads all of the file. Errors: pread(2)'s.
Result<SnapshotBase> snapshot_base(FdRef file);

/// Writes what the volume holds to an empty regular file, and returns when it is on stable storage.
/// `base` is what an overlay lies over; none: the volume is a disk by itself.
/// It is of one moment, of when this was called: others may write to the volume meanwhile.
/// Thread: any. Cost: 5 MiB of heap, and in the store what others replace; each page is unpacked
/// and packed.
/// Errors: InvalidArgument where `into` is not empty; ZramVolume::freeze()'s, ZramFrozen::next()'s;
/// write(2)'s, fsync(2)'s. The file then is no snapshot.
Result<void> save_snapshot(ZramVolume& volume, FdRef into,
                           const std::optional<SnapshotBase>& base = std::nullopt);

/// The same to a file of that name. Whoever looks meanwhile, or after a crash, finds the old file
/// or the new one, whole; where it fails, the old one. `directory` may not be AT_FDCWD.
Result<void> replace_snapshot(ZramVolume& volume, FdRef directory, const std::string& name,
                              const std::optional<SnapshotBase>& base = std::nullopt);

/// How large a volume the snapshot was made of. Checks no more than the file's begin.
/// Errors: DataLoss for what is no snapshot; Unsupported for one of another version.
Result<Pages> snapshot_capacity(FdRef from);

/// Writes a snapshot's pages into a volume that holds nothing yet, and that nobody else uses. Where
/// it fails, or the process is killed before the file's end was seen to be right, the volume holds
/// nothing again. Nothing in the file is believed. `base` as above, of this volume.
/// Thread: any. Cost: 1 MiB of heap.
/// Errors: FailedPrecondition where the volume holds something, or the snapshot is not of such a
/// volume or was made over another base; InvalidArgument where it is smaller
/// than the snapshot's; ResourceExhausted where its store is full; DataLoss, naming the place,
/// where the file is cut off or damaged, or has something behind its end; Unsupported as above.
Result<void> load_snapshot(FdRef from, ZramVolume& into,
                           const std::optional<SnapshotBase>& base = std::nullopt);

}  // namespace pepita::storage
