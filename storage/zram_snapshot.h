#pragma once

#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram_store.h"

// A volume's pages in a file, so that they outlive the machine's memory. Contents are packed, and
// equal pages mostly stand in it once; every byte of it is under a checksum (XXH3-128, against
// accidents: it is no signature). The format is in storage/zram/snapshot_format.h.

namespace pepita::storage {

/// Writes what the volume holds to an empty regular file, and returns when it is on stable storage.
/// Who writes to the volume meanwhile finds each page in it either as it was or as it is.
/// Thread: any. Cost: 5 MiB of heap; each page is unpacked and packed.
/// Errors: InvalidArgument where `into` is not empty; Unavailable where the volume was removed, or
/// got smaller meanwhile; write(2)'s, fsync(2)'s. The file then is no snapshot.
Result<void> save_snapshot(const ZramVolume& volume, FdRef into);

/// The same to a file of that name. Whoever looks meanwhile, or after a crash, finds the old file
/// or the new one, whole; where it fails, the old one. `directory` may not be AT_FDCWD.
Result<void> replace_snapshot(const ZramVolume& volume, FdRef directory, const std::string& name);

/// How large a volume the snapshot was made of. Checks no more than the file's begin.
/// Errors: DataLoss for what is no snapshot; Unsupported for one of another version.
Result<Pages> snapshot_capacity(FdRef from);

/// Writes a snapshot's pages into a volume that holds nothing yet, and that nobody else uses. Where
/// it fails, the volume holds nothing again. Nothing in the file is believed.
/// Thread: any. Cost: 1 MiB of heap.
/// Errors: FailedPrecondition where the volume holds something; InvalidArgument where it is smaller
/// than the snapshot's; ResourceExhausted where its store is full; DataLoss, naming the place,
/// where the file is cut off or damaged, or has something behind its end; Unsupported as above.
Result<void> load_snapshot(FdRef from, ZramVolume& into);

}  // namespace pepita::storage
