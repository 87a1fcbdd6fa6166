#include "vmm/net/transmit_queue.h"

#include <limits.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_net.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/net/frame.h"
#include "vmm/net/token_bucket.h"

namespace pepita::vmm::net {

/// Virtio 1.2 §5.1.6.2: what a driver may ask of the device for a frame.
bool TransmitQueue::is_agreed(const FrameHeader& header) const {
    const auto has = [this](std::uint64_t feature) { return (features_ & feature) != 0; };
    if ((header.flags & ~abi::kVirtioNetHdrFNeedsCsum) != 0 ||
        (header.flags != 0 && !has(abi::kVirtioNetFCsum))) {
        return false;
    }
    const bool is_ecn = (header.gso_type & abi::kVirtioNetHdrGsoEcn) != 0;
    if (is_ecn && !has(abi::kVirtioNetFHostEcn)) {
        return false;
    }
    switch (header.gso_type & ~abi::kVirtioNetHdrGsoEcn) {
        case abi::kVirtioNetHdrGsoNone:
            return true;
        case abi::kVirtioNetHdrGsoTcpv4:
            return has(abi::kVirtioNetFHostTso4);
        case abi::kVirtioNetHdrGsoTcpv6:
            return has(abi::kVirtioNetFHostTso6);
        default:
            return false;
    }
}

bool TransmitQueue::send(virtio::Chain& chain, FdRef tap, TokenBucket& bucket) {
    Result<FrameHeader> header = chain.read<FrameHeader>();
    const std::size_t length = chain.readable();
    if (!header || length == 0 || length > kFrameMax - sizeof(FrameHeader) || !is_agreed(*header)) {
        return false;
    }
    header->num_buffers = 0;
    segments_.clear();
    chain.take_readable(length, segments_);
    if (segments_.size() >= IOV_MAX) {
        return false;
    }
    parts_.clear();
    parts_.push_back({.iov_base = &*header, .iov_len = sizeof(FrameHeader)});
    for (const virtio::Chain::Segment segment : segments_) {
        parts_.push_back({.iov_base = segment.data(), .iov_len = segment.size()});
    }
    ssize_t sent = 0;
    do {
        sent = ::writev(tap.number(), parts_.data(), static_cast<int>(parts_.size()));
    } while (sent < 0 && errno == EINTR);
    bucket.take(length);
    return sent > 0;
}

Moved TransmitQueue::drain(FdRef tap, Budget& budget, TokenBucket& bucket) {
    ring_.disable_kicks();
    while (budget.frames > 0) {
        if (bucket.is_limited() && !bucket.is_open(TokenBucket::Clock::now())) {
            return Moved::All;
        }
        --budget.frames;
        std::optional<virtio::Chain> chain = ring_.pop();
        if (chain) {
            dropped_ += send(*chain, tap, bucket) ? 0U : 1U;
            ring_.complete(*std::move(chain), 0);
        } else if (!ring_.enable_kicks()) {
            return Moved::All;
        } else {
            ring_.disable_kicks();
        }
    }
    return Moved::TurnOver;
}

}  // namespace pepita::vmm::net
