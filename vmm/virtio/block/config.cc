#include "vmm/virtio/block/config.h"

#include <cstdint>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "storage/block_device.h"

namespace pepita::vmm::virtio::block {

std::uint64_t offered_features(storage::Access access) {
    const std::uint64_t always =
        abi::kVirtioBlkFSizeMax | abi::kVirtioBlkFSegMax | abi::kVirtioBlkFBlkSize;
    return always |
           (access == storage::Access::ReadOnly ? abi::kVirtioBlkFReadOnly : abi::kVirtioBlkFFlush);
}

abi::VirtioBlkConfig make_config(Sectors capacity) {
    abi::VirtioBlkConfig config{};
    config.capacity = capacity.value();
    config.size_max = static_cast<std::uint32_t>(kSegmentBytesMax.value());
    config.seg_max = kSegmentsMax;
    config.blk_size = static_cast<std::uint32_t>(kSectorSize.value());
    config.num_queues = 1;
    return config;
}

}  // namespace pepita::vmm::virtio::block
