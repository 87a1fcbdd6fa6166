#include "kernel-abi/virtio/guest_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::virtio {

Result<GuestMemory> GuestMemory::create(std::vector<MemoryRegion> regions) {
    std::ranges::sort(regions, {}, &MemoryRegion::start);
    std::uint64_t free_from = 0;
    for (const MemoryRegion& region : regions) {
        const std::uint64_t start = std::to_underlying(region.start);
        if (start < free_from ||
            region.bytes.size() > std::numeric_limits<std::uint64_t>::max() - start) {
            return Error(Code::InvalidArgument, "memory region at " + std::to_string(start) +
                                                    " overlaps another or wraps");
        }
        free_from = start + region.bytes.size();
    }
    return GuestMemory(std::move(regions));
}

Result<std::span<std::byte>> GuestMemory::span_at(GuestAddress at, Bytes length) const {
    for (const MemoryRegion& region : regions_) {
        // Written so that no sum can wrap: `at` and `length` are the guest's. An address below the
        // region gives an offset near 2^64, beyond any region.
        const std::uint64_t offset = std::to_underlying(at) - std::to_underlying(region.start);
        if (offset < region.bytes.size() && length.value() <= region.bytes.size() - offset) {
            return region.bytes.subspan(offset, length.value());
        }
    }
    return Error(Code::OutOfRange, "guest address " + std::to_string(std::to_underlying(at)) +
                                       " + " + std::to_string(length.value()) +
                                       " B is outside RAM");
}

}  // namespace pepita::virtio
