#pragma once

#include <memory>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

namespace pepita::storage {

/// How much memory a store needs so that a disk of `size` can always be filled, whatever is written
/// to it: the quota is the disk's size, and the store never says no.
Bytes store_limit(Bytes size);

/// A disk of `size` in a compressed store of its own, in this process's memory, that begins as what
/// `base` holds. That is copied: it is meant for the few pages of an empty file system.
/// Errors: InvalidArgument where `base` is longer than the disk; ResourceExhausted where it holds
/// more than memory can be had for; what the system says to the memory file.
Result<std::unique_ptr<storage::BlockDevice>> make_store_disk(Bytes size, Fd base);

}  // namespace pepita::storage
