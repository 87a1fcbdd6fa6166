#include "vmm/net/receive_queue.h"

#include <limits.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/net/frame.h"
#include "vmm/net/token_bucket.h"

namespace pepita::vmm::net {
namespace {

/// Writes into what a frame was read into, which may be cut anywhere.
void overwrite(std::span<const iovec> frame, std::size_t offset, std::span<const std::byte> bytes) {
    for (const iovec& part : frame) {
        if (bytes.empty()) {
            return;
        }
        if (offset >= part.iov_len) {
            offset -= part.iov_len;
            continue;
        }
        const std::size_t size = std::min(part.iov_len - offset, bytes.size());
        // SAFETY: part is a segment of guest RAM, and has `offset + size` bytes.
        std::memcpy(static_cast<std::byte*>(part.iov_base) + offset, bytes.data(), size);
        bytes = bytes.subspan(size);
        offset = 0;
    }
}

}  // namespace

bool ReceiveQueue::has_room() const {
    if (!is_mergeable_) {
        return !held_.empty();
    }
    // A driver refills its queue when half of it is free, so that no more than half may be held.
    return room_bytes_ >= kFrameMax ||
           (!held_.empty() && held_.size() >= std::size_t{ring_.size()} / 2);
}

void ReceiveQueue::hold(virtio::Chain chain) {
    segments_.clear();
    const std::size_t bytes = chain.writable();
    chain.take_writable(bytes, segments_);
    for (const virtio::Chain::Segment segment : segments_) {
        room_.push_back({.iov_base = segment.data(), .iov_len = segment.size()});
    }
    room_bytes_ += bytes;
    held_.push_back({.chain = std::move(chain), .segments = segments_.size(), .bytes = bytes});
}

/// Holds buffers until a frame has room. False where the driver has made too few available, or
/// useless ones have used the turn up.
bool ReceiveQueue::gather(Budget& budget) {
    while (!has_room()) {
        std::optional<virtio::Chain> chain = ring_.pop();
        if (!chain) {
            if (!ring_.enable_kicks() || budget.frames == 0) {
                return false;
            }
            --budget.frames;  // so that a driver that teases us costs no more than this turn
            ring_.disable_kicks();
        } else if (chain->writable() >= sizeof(FrameHeader)) {
            hold(*std::move(chain));
        } else {
            ring_.complete(*std::move(chain), 0);
            if (budget.frames == 0) {
                return false;
            }
            --budget.frames;
        }
    }
    return true;
}

Moved ReceiveQueue::fill(FdRef tap, Budget& budget, TokenBucket& bucket) {
    ring_.disable_kicks();
    while (budget.frames > 0) {
        if (bucket.is_limited() && !bucket.is_open(TokenBucket::Clock::now())) {
            return Moved::All;
        }
        if (!gather(budget)) {
            return budget.frames == 0 ? Moved::TurnOver : Moved::NoRoom;
        }
        const std::size_t parts =
            std::min<std::size_t>(is_mergeable_ ? room_.size() : held_.front().segments, IOV_MAX);
        const ssize_t got = ::readv(tap.number(), room_.data(), static_cast<int>(parts));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 && errno == EAGAIN ? Moved::All : Moved::TapGone;
        }
        --budget.frames;
        deliver(static_cast<std::size_t>(got));
        bucket.take(static_cast<std::uint64_t>(got));
    }
    return Moved::TurnOver;
}

/// The frame is in the first `length` bytes of the room.
void ReceiveQueue::deliver(std::size_t length) {
    const std::size_t room = is_mergeable_ ? room_bytes_ : held_.front().bytes;
    const bool is_cut =
        room_.size() > IOV_MAX || length > room || (length == room && room < kFrameMax);
    if (is_cut || length < sizeof(FrameHeader)) {
        ++dropped_;  // the buffers stay for the next one
        return;
    }
    used_.clear();
    std::size_t left = length;
    std::size_t parts = 0;
    while (left > 0) {
        Held held = std::move(held_.front());
        held_.pop_front();
        const std::size_t written = std::min(left, held.bytes);
        left -= written;
        parts += held.segments;
        room_bytes_ -= held.bytes;
        used_.push_back(
            {.chain = std::move(held.chain), .written = static_cast<std::uint32_t>(written)});
    }
    const auto buffers = static_cast<std::uint16_t>(used_.size());
    overwrite(std::span(room_).first(parts), offsetof(FrameHeader, num_buffers),
              std::as_bytes(std::span(&buffers, 1)));
    room_.erase(room_.begin(), room_.begin() + static_cast<std::ptrdiff_t>(parts));
    // All at once: a driver that saw the first buffer alone would take the frame for broken.
    ring_.complete(used_);
}

}  // namespace pepita::vmm::net
