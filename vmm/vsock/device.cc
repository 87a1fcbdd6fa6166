#include "vmm/vsock/device.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/vsock/muxer.h"

namespace pepita::vmm::vsock {
namespace {

constexpr std::array<std::uint16_t, 3> kQueueSizes{256, 256, 16};

/// Chains of a queue that are served before other descriptors of the loop have their turn.
constexpr std::size_t kChainsPerTurn = 256;

}  // namespace

Result<std::unique_ptr<VsockDevice>> VsockDevice::create(EventLoop& loop, Fd listener,
                                                         Options options) {
    // §5.10.4: 0, 1 and 2 are reserved, as is 2^32 - 1; the upper half must be zero.
    if (options.guest_cid <= abi::kVsockHostCid ||
        options.guest_cid >= std::numeric_limits<std::uint32_t>::max()) {
        return Error(Code::InvalidArgument, "vsock cid " + std::to_string(options.guest_cid) +
                                                " is not from 3 to 4294967294");
    }
    std::unique_ptr<VsockDevice> device(new VsockDevice(loop, options.guest_cid));
    device->muxer_ = TRY(Muxer::create(loop, std::move(listener), std::move(options),
                                       [self = device.get()] { self->serve(); }));
    return device;
}

std::span<const std::uint16_t> VsockDevice::queue_sizes() const { return kQueueSizes; }

std::span<const std::byte> VsockDevice::config() const {
    return std::as_bytes(std::span(&config_, 1));
}

void VsockDevice::start(const virtio::Session& session) { notifier_ = &session.notifier; }

Result<std::size_t> VsockDevice::start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) {
    CHECK(queue < kQueues);
    CHECK(notifier_ != nullptr);
    virtio::Ring ring = TRY(setup.open());
    const std::size_t inherited = ring.inherited();
    rings_[queue] = std::move(ring);
    told_broken_[queue] = false;
    kick(queue);
    return inherited;
}

std::uint16_t VsockDevice::stop_queue(std::uint16_t queue) {
    CHECK(queue < kQueues);
    const std::optional<virtio::Ring> ring = std::exchange(rings_[queue], std::nullopt);
    return ring ? ring->next_available() : std::uint16_t{0};
}

void VsockDevice::kick(std::uint16_t queue) {
    // The buffers of the event queue wait for a transport reset, which only a migration would be.
    if (queue == abi::kVsockRxQueue || queue == abi::kVsockTxQueue) {
        serve();
    }
}

void VsockDevice::reset() {
    for (std::optional<virtio::Ring>& ring : rings_) {
        ring.reset();
    }
    notifier_ = nullptr;
    next_turn_.cancel();
    muxer_->driver_gone();
}

void VsockDevice::serve() {
    bool more = take_transmitted();
    const bool was_congested = muxer_->is_congested();
    more = fill_receive() || more;
    more = more || (was_congested && !muxer_->is_congested());
    notify(abi::kVsockTxQueue);
    notify(abi::kVsockRxQueue);
    if (more) {
        next_turn_ = loop_.after(std::chrono::nanoseconds(0), [this] { serve(); });
    }
}

bool VsockDevice::take_transmitted() {
    std::optional<virtio::Ring>& ring = rings_[abi::kVsockTxQueue];
    if (!ring) {
        return false;
    }
    ring->disable_kicks();
    for (std::size_t i = 0; i < kChainsPerTurn; ++i) {
        if (muxer_->is_congested()) {
            return false;  // fill_receive() is what helps
        }
        std::optional<virtio::Chain> chain = ring->pop();
        if (chain) {
            muxer_->take(*chain);
            ring->complete(std::move(*chain), 0);
        } else if (!ring->enable_kicks()) {
            return false;
        } else {
            ring->disable_kicks();
        }
    }
    return true;
}

bool VsockDevice::fill_receive() {
    std::optional<virtio::Ring>& ring = rings_[abi::kVsockRxQueue];
    return ring && muxer_->has_output() && muxer_->fill(*ring, kChainsPerTurn);
}

void VsockDevice::notify(std::uint16_t queue) {
    std::optional<virtio::Ring>& ring = rings_[queue];
    if (!ring) {
        return;
    }
    if (ring->should_interrupt()) {
        notifier_->queue_used(queue);
    }
    if (ring->is_broken() && !std::exchange(told_broken_[queue], true)) {
        notifier_->queue_broken(queue);
    }
}

}  // namespace pepita::vmm::vsock
