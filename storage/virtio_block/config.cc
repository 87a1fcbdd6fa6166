#include "storage/virtio_block/config.h"

#include <cstdint>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "storage/block_device.h"

namespace pepita::storage::virtio_block {

std::uint64_t offered_features(storage::Access access, std::uint16_t queues) {
    std::uint64_t features =
        abi::kVirtioBlkFSizeMax | abi::kVirtioBlkFSegMax | abi::kVirtioBlkFBlkSize;
    if (queues > 1) {
        features |= abi::kVirtioBlkFMq;
    }
    return features |
           (access == storage::Access::ReadOnly
                ? abi::kVirtioBlkFReadOnly
                : abi::kVirtioBlkFFlush | abi::kVirtioBlkFDiscard | abi::kVirtioBlkFWriteZeroes);
}

abi::VirtioBlkConfig make_config(Sectors capacity, std::uint16_t queues) {
    abi::VirtioBlkConfig config{};
    config.capacity = capacity.value();
    config.size_max = static_cast<std::uint32_t>(kSegmentBytesMax.value());
    config.seg_max = kSegmentsMax;
    config.blk_size = static_cast<std::uint32_t>(kSectorSize.value());
    config.num_queues = queues;
    const auto range_max = static_cast<std::uint32_t>(kRangeSectorsMax.value());
    config.max_discard_sectors = range_max;
    config.max_discard_seg = 1;
    config.discard_sector_alignment =
        static_cast<std::uint32_t>(kPageSize.value() / kSectorSize.value());
    config.max_write_zeroes_sectors = range_max;
    config.max_write_zeroes_seg = 1;
    config.write_zeroes_may_unmap = 1;
    return config;
}

}  // namespace pepita::storage::virtio_block
