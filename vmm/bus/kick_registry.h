#pragma once

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/guest_memory.h"

namespace pepita::vmm {

/// Turns guest writes to an address into eventfd signals without an exit to us: KVM_IOEVENTFD, or a
/// test. Where it cannot, the write comes as an MMIO exit instead; slower and just as right.
class KickRegistry {
public:
    KickRegistry() = default;
    KickRegistry(const KickRegistry&) = delete;
    KickRegistry& operator=(const KickRegistry&) = delete;
    KickRegistry(KickRegistry&&) = delete;
    KickRegistry& operator=(KickRegistry&&) = delete;
    virtual ~KickRegistry() = default;

    /// From now on a write of any value and size to `at` signals `eventfd`, which is borrowed until
    /// remove(). Errors: AlreadyExists where the address is taken; ResourceExhausted.
    virtual Result<void> add(virtio::GuestAddress at, FdRef eventfd) = 0;

    /// Ends what add() with the same arguments began.
    virtual void remove(virtio::GuestAddress at, FdRef eventfd) = 0;
};

}  // namespace pepita::vmm
