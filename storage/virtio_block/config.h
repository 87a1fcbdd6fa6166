#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "storage/block_device.h"

namespace pepita::storage::virtio_block {

inline constexpr std::uint16_t kQueueSize = 256;
inline constexpr std::uint32_t kSegmentsMax =
    126;  // and two for header and status: 128 descriptors
inline constexpr Bytes kSegmentBytesMax = 32_KiB;
/// The longest request that a driver makes which keeps the two limits above. Longer ones fail: one
/// request must not keep a disk busy for as long as the guest likes.
inline constexpr Bytes kRequestBytesMax{kSegmentsMax * kSegmentBytesMax.value()};

/// Of one Discard or WriteZeroes, in one range: 1 GiB. Longer ones fail, for the same reason.
inline constexpr Sectors kRangeSectorsMax{2U << 20U};
inline constexpr std::uint16_t kQueuesMax = 64;

/// Offered bits for a disk of that access. A disk that nobody writes has nothing to flush.
std::uint64_t offered_features(storage::Access access, std::uint16_t queues);

/// What the driver reads of the disk.
abi::VirtioBlkConfig make_config(Sectors capacity, std::uint16_t queues);

}  // namespace pepita::storage::virtio_block
