#pragma once

#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::guest {

/// The PCI functions of this machine, and the disks among them, by sysfs, which is mounted at
/// `sys`. A hot-plug driver is not needed.
/// Source: Linux Documentation/ABI/testing/sysfs-bus-pci.

/// The block device of a disk: "/dev/vda". Errors: NotFound; InvalidArgument unless exactly one of
/// the names is given.
Result<std::string> find_disk(const DiskId& disk, const std::string& sys);

/// Finds functions that were attached since the last scan, and waits until their drivers have
/// probed.
Result<void> rescan_bus(const std::string& sys);

/// Removes a function from this kernel, which does not ask whether it is in use, and waits until
/// its driver has let go. Errors: NotFound; FailedPrecondition for a disk that is mounted or
/// otherwise held.
Result<void> release_device(const DiskId& disk, const std::string& sys);

}  // namespace pepita::runtime::guest
