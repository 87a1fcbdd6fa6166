#include "vmm/virtio/entropy/device.h"

#include <sys/random.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "vmm/virtio/chain.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/ring.h"

namespace pepita::vmm::virtio {
namespace {

void fill_random(std::span<std::byte> room) {
    while (!room.empty()) {
        const ssize_t got = ::getrandom(room.data(), room.size(), 0);
        CHECK(got > 0 || errno == EINTR);  // nothing else can be wrong with it
        if (got > 0) {
            room = room.subspan(static_cast<std::size_t>(got));
        }
    }
}

}  // namespace

void Entropy::start(const Session& session) { session_.emplace(session); }

void Entropy::start_queue(std::uint16_t queue, Ring ring) {
    if (queue != 0 || !session_ || ring_) {
        return;
    }
    ring_ = std::move(ring);
    was_broken_ = false;
    serve();
}

std::uint16_t Entropy::stop_queue(std::uint16_t queue) {
    if (queue != 0 || !ring_) {
        return 0;
    }
    const std::uint16_t next = ring_->next_available();
    ring_.reset();
    return next;
}

void Entropy::kick(std::uint16_t queue) {
    if (queue == 0) {
        serve();
    }
}

void Entropy::reset() {
    (void)stop_queue(0);
    session_.reset();
}

void Entropy::serve() {
    if (!ring_) {
        return;
    }
    ring_->disable_kicks();
    do {
        while (std::optional<Chain> chain = ring_->pop()) {
            std::uint32_t written = 0;
            for (const Chain::Segment room : chain->take_writable(kRequestMax.value())) {
                fill_random(room);
                written += static_cast<std::uint32_t>(room.size());
            }
            ring_->complete(*std::move(chain), written);
        }
    } while (ring_->enable_kicks());
    if (ring_->should_interrupt()) {
        session_->notifier.queue_used(0);
    }
    if (ring_->is_broken() && !std::exchange(was_broken_, true)) {
        session_->notifier.queue_broken(0);
    }
}

}  // namespace pepita::vmm::virtio
