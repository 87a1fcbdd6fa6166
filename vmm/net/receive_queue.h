#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/net/frame.h"
#include "vmm/net/token_bucket.h"

namespace pepita::vmm::net {

/// Frames from a tap, read right into the driver's buffers. A tap gives a frame as a whole and
/// drops what there is no room for, so buffers for the largest one are held before it is read.
class ReceiveQueue {
public:
    /// With `is_mergeable` a frame is in as many buffers as it takes, else in one.
    ReceiveQueue(virtio::Ring ring, bool is_mergeable)
        : ring_(std::move(ring)), is_mergeable_(is_mergeable) {}

    /// Until the tap has no frame, or the bucket is closed (All).
    Moved fill(FdRef tap, Budget& budget, TokenBucket& bucket);

    virtio::Ring& ring() { return ring_; }

    /// Where a successor begins: what is held was taken from the ring, and not used.
    std::uint16_t next_available() const {
        return static_cast<std::uint16_t>(ring_.next_available() - held_.size());
    }

    /// Frames that were longer than the room for them.
    std::uint64_t dropped() const { return dropped_; }

private:
    struct Held {
        virtio::Chain chain;
        std::size_t segments;  // of room_
        std::size_t bytes;
    };
    bool has_room() const;
    bool gather(Budget& budget);
    void hold(virtio::Chain chain);
    void deliver(std::size_t length);

    virtio::Ring ring_;
    bool is_mergeable_;
    std::deque<Held> held_;
    std::vector<iovec> room_;  // of all that are held, in their order
    std::size_t room_bytes_ = 0;
    std::vector<virtio::Chain::Segment> segments_;  // of the chain that is being held
    std::vector<virtio::Ring::Completion> used_;    // of the frame that is being delivered
    std::uint64_t dropped_ = 0;
};

}  // namespace pepita::vmm::net
