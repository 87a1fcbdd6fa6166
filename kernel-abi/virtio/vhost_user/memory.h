#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/lent_mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/virtio/guest_memory.h"

namespace pepita::virtio {

/// The guest's RAM as a vhost-user front end lends it, mapped here.
class VhostUserMemory {
public:
    /// Maps each region from the descriptor of the same place; afterwards those may be closed.
    ///
    /// A file that is shorter than its region, or not in memory, is refused. One that shrinks later
    /// turns into zeros where it is touched, and `lost` is signalled, an eventfd that outlives
    /// this.
    ///
    /// Errors: InvalidArgument where regions are empty, wrap, overlap, or miss their file's end;
    /// mmap(2)'s.
    static Result<VhostUserMemory> map(std::span<const abi::VhostUserMemoryRegion> regions,
                                       std::span<const Fd> files, FdRef lost);

    const GuestMemory& guest() const { return guest_; }

    /// An address of the front end's own address space as the guest has it.
    /// Errors: OutOfRange where it lies in no region.
    Result<GuestAddress> to_guest(std::uint64_t user_address) const;

private:
    VhostUserMemory(GuestMemory guest, std::vector<LentMapping> mappings,
                    std::vector<abi::VhostUserMemoryRegion> regions)
        : guest_(std::move(guest)), mappings_(std::move(mappings)), regions_(std::move(regions)) {}

    GuestMemory guest_;
    std::vector<LentMapping> mappings_;
    std::vector<abi::VhostUserMemoryRegion> regions_;
};

}  // namespace pepita::virtio
