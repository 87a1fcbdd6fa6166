#pragma once

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/block_device.h"

namespace pepita::storage::ublk {

/// What the kernel is told of a disk: logical blocks of 512 bytes on physical ones of 4096, a
/// volatile cache that FLUSH and FUA write through, discard and write-zeroes of any size. A
/// read-only disk has none of the last three.
abi::UblkParams build_parameters(Sectors capacity, Access access, Bytes request_max);

}  // namespace pepita::storage::ublk
