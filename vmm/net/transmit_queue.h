#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/net/frame.h"
#include "vmm/net/token_bucket.h"

namespace pepita::vmm::net {

/// The driver's frames, written to a tap from where they lie. The header is copied and checked
/// against what was agreed: the host's kernel reads it, and no byte of it changes under it.
class TransmitQueue {
public:
    TransmitQueue(virtio::Ring ring, std::uint64_t features)
        : ring_(std::move(ring)), features_(features) {}

    /// Until the driver has no frame, or the bucket is closed (All).
    Moved drain(FdRef tap, Budget& budget, TokenBucket& bucket);

    virtio::Ring& ring() { return ring_; }

    /// Frames that are none, or that the tap did not take.
    std::uint64_t dropped() const { return dropped_; }

private:
    /// False where the frame is dropped.
    bool send(virtio::Chain& chain, FdRef tap, TokenBucket& bucket);
    bool is_agreed(const FrameHeader& header) const;

    virtio::Ring ring_;
    std::uint64_t features_;
    std::vector<virtio::Chain::Segment> segments_;  // of the frame that is sent
    std::vector<iovec> parts_;
    std::uint64_t dropped_ = 0;
};

}  // namespace pepita::vmm::net
