#include "vmm/entropy/device.h"

#include <sys/random.h>
#include <sys/types.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"

namespace pepita::vmm {
namespace {

void fill_random(std::span<std::byte> room) {
    while (!room.empty()) {
        const ssize_t got = ::getrandom(room.data(), room.size(), 0);
        if (got < 0) {
            CHECK(errno == EINTR);  // nothing else can be wrong with it
            continue;
        }
        room = room.subspan(static_cast<std::size_t>(got));
    }
}

}  // namespace

void Entropy::start(const virtio::Session& session) { notifier_ = &session.notifier; }

Result<std::size_t> Entropy::start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) {
    if (queue != 0 || notifier_ == nullptr || queue_ != nullptr) {
        return std::size_t{0};
    }
    queue_ = std::make_unique<Queue>(TRY(setup.open()));
    const std::size_t inherited = queue_->ring.inherited();
    serve();
    return inherited;
}

std::uint16_t Entropy::stop_queue(std::uint16_t queue) {
    if (queue != 0 || queue_ == nullptr) {
        return 0;
    }
    const std::uint16_t next = queue_->ring.next_available();
    queue_.reset();
    return next;
}

void Entropy::kick(std::uint16_t queue) {
    if (queue == 0) {
        serve();
    }
}

void Entropy::reset() {
    queue_.reset();
    notifier_ = nullptr;
    next_turn_.cancel();
}

/// True where the turn ended before the chains did.
bool Entropy::fill_chains(virtio::Ring& ring) {
    ring.disable_kicks();
    for (std::size_t i = 0; i < kChainsPerTurn; ++i) {
        std::optional<virtio::Chain> chain = ring.pop();
        if (!chain) {
            if (!ring.enable_kicks()) {
                return false;
            }
            ring.disable_kicks();
            continue;
        }
        std::uint32_t written = 0;
        for (const virtio::Chain::Segment room : chain->take_writable(kRequestMax.value())) {
            fill_random(room);
            written += static_cast<std::uint32_t>(room.size());
        }
        ring.complete(*std::move(chain), written);
    }
    return true;
}

void Entropy::serve() {
    if (queue_ == nullptr) {
        return;
    }
    virtio::Ring& ring = queue_->ring;
    if (fill_chains(ring)) {
        next_turn_ = loop_.after(std::chrono::nanoseconds(0), [this] { serve(); });
    }
    if (ring.should_interrupt()) {
        notifier_->queue_used(0);
    }
    if (ring.is_broken() && !std::exchange(queue_->was_broken, true)) {
        notifier_->queue_broken(0);
    }
}

}  // namespace pepita::vmm
