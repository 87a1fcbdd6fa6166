#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/vhost_user/inflight.h"

namespace pepita::virtio {

/// Where the driver put a split virtqueue (virtio 1.2 §2.7). `next` is the available index to begin
/// at: 0 but for a vhost-user queue that was stopped and goes on. With an InflightQueue it does not
/// count: then the rings say where they stand.
struct RingGeometry {
    std::uint16_t size = 0;
    GuestAddress descriptors{};
    GuestAddress available{};
    GuestAddress used{};
    std::uint16_t next = 0;
};

/// The device's side of one split virtqueue.
///
/// The geometry is latched here when the queue starts: what the driver writes to the transport's
/// registers later reaches no ring (the class of CVE-2026-5747). A driver that breaks the rules
/// breaks its own ring: from then on pop() gives nothing, and is_broken() tells.
class Ring {
public:
    /// `features` are the acked bits; VIRTIO_F_EVENT_IDX and VIRTIO_F_INDIRECT_DESC matter here.
    /// `memory` is borrowed for the ring's life.
    /// `inflight`, whose region outlives the ring, is told of every chain. Those that a killed
    /// predecessor had taken come first from pop(), in its order; so the used ring's index is read
    /// from the guest, who can confuse nobody but itself by it.
    /// Errors: InvalidArgument for a size that is no power of two up to 32768, a misaligned
    /// address (16, 2, 4), or more descriptors than `inflight` has; OutOfRange where a part is not
    /// wholly in RAM.
    static Result<Ring> open(const GuestMemory& memory, const RingGeometry& geometry,
                             std::uint64_t features,
                             std::optional<InflightQueue> inflight = std::nullopt);

    /// The next chain that the driver made available, checked whole: every descriptor in RAM, no
    /// loop, readable before writable, at most `size` descriptors, at most 2^32 - 1 bytes.
    std::optional<Chain> pop();

    /// Gives the chain back with `written` bytes in its writable part (VIRTIO 1.2 §2.7.8).
    /// Chains may come back in any order.
    void complete(Chain chain, std::uint32_t written);

    struct Completion {
        Chain chain;
        std::uint32_t written = 0;
    };
    /// Several at once: the driver sees all of them or none. Their chains are taken.
    void complete(std::span<Completion> completions);

    /// Whether the driver wants an interrupt for what was completed since the last call
    /// (used_event or VRING_AVAIL_F_NO_INTERRUPT).
    bool should_interrupt();

    /// Asks the driver for a kick. True where chains arrived meanwhile: pop again instead of
    /// waiting, or they would never be seen.
    bool enable_kicks();

    /// Tells the driver that kicks are not needed while we work.
    void disable_kicks();

    bool is_broken() const;
    /// The latched size; every head is below it.
    std::uint16_t size() const;
    std::uint16_t next_available() const;
    /// Chains of a killed predecessor that pop() has not given yet.
    std::size_t inherited() const;

    Ring(Ring&&) noexcept;
    Ring& operator=(Ring&&) noexcept;
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring();

private:
    struct State;
    explicit Ring(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace pepita::virtio
