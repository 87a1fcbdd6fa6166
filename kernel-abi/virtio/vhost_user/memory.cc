#include "kernel-abi/virtio/vhost_user/memory.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/lent_mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/virtio/guest_memory.h"

namespace pepita::virtio {
namespace {

bool wraps(std::uint64_t start, std::uint64_t size) {
    return size > std::numeric_limits<std::uint64_t>::max() - start;
}

Result<LentMapping> map_region(const abi::VhostUserMemoryRegion& region, FdRef file, FdRef lost) {
    if (region.size == 0 || wraps(region.guest_address, region.size) ||
        wraps(region.user_address, region.size) || wraps(region.file_offset, region.size)) {
        return Error(Code::InvalidArgument, "it is empty or wraps");
    }
    return LentMapping::map(file, Bytes(region.size), region.file_offset, lost);
}

}  // namespace

Result<VhostUserMemory> VhostUserMemory::map(std::span<const abi::VhostUserMemoryRegion> regions,
                                             std::span<const Fd> files, FdRef lost) {
    CHECK(regions.size() == files.size());
    std::vector<LentMapping> mappings;
    std::vector<MemoryRegion> parts;
    for (std::size_t i = 0; i < regions.size(); ++i) {
        mappings.push_back(
            TRY(map_region(regions[i], files[i].ref(), lost), "memory region ", std::to_string(i)));
        parts.push_back(
            {.start = GuestAddress{regions[i].guest_address}, .bytes = mappings.back().bytes()});
    }
    GuestMemory guest = TRY(GuestMemory::create(std::move(parts)));
    return VhostUserMemory(std::move(guest), std::move(mappings), {regions.begin(), regions.end()});
}

Result<GuestAddress> VhostUserMemory::to_guest(std::uint64_t user_address) const {
    for (const abi::VhostUserMemoryRegion& region : regions_) {
        const std::uint64_t offset = user_address - region.user_address;  // below it: near 2^64
        if (offset < region.size) {
            return GuestAddress{region.guest_address + offset};
        }
    }
    return Error(Code::OutOfRange,
                 "front end's address " + std::to_string(user_address) + " is in no region");
}

}  // namespace pepita::virtio
