#include "vmm/vsock/rx_writer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/uapi/virtio_vsock.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/vsock/client.h"
#include "vmm/vsock/connection.h"
#include "vmm/vsock/packet.h"

namespace pepita::vmm::vsock {
namespace {

constexpr std::size_t kHeaderSize = sizeof(abi::VsockHeader);

/// A buffer on its way: the header is written once the payload's length is known.
struct Slot {
    virtio::Chain chain;
    std::vector<virtio::Chain::Segment> header;
    std::size_t payload_max;
};

void scatter(std::span<const virtio::Chain::Segment> into, const abi::VsockHeader& header) {
    std::span<const std::byte> left = std::as_bytes(std::span(&header, 1));
    for (const virtio::Chain::Segment& segment : into) {
        const std::size_t size = std::min(segment.size(), left.size());
        std::memcpy(segment.data(), left.data(), size);
        left = left.subspan(size);
    }
}

}  // namespace

RxWriter::RxWriter(virtio::Ring& ring, std::uint64_t guest_cid, std::size_t budget)
    : ring_(ring), guest_cid_(guest_cid), budget_(budget) {
    ring_.disable_kicks();
}

std::optional<virtio::Chain> RxWriter::take() {
    while (budget_ > 0 && !dry_) {
        std::optional<virtio::Chain> chain = ring_.pop();
        if (!chain) {
            dry_ = !ring_.enable_kicks();
            if (!dry_) {
                ring_.disable_kicks();
                --budget_;  // so that a driver that teases us costs no more than this turn
            }
            continue;
        }
        --budget_;
        if (chain->writable() > kHeaderSize) {
            return chain;
        }
        ring_.complete(std::move(*chain), 0);  // no packet fits, not even an empty one and a byte
    }
    return std::nullopt;
}

void RxWriter::write(virtio::Chain chain, const Packet& packet) {
    const abi::VsockHeader header = encode(packet, guest_cid_);
    (void)chain.write(std::as_bytes(std::span(&header, 1)));
    ring_.complete(std::move(chain), kHeaderSize);
}

std::size_t RxWriter::move(Client& client, Connection& connection, std::size_t length,
                           std::size_t buffers) {
    std::vector<Slot> slots;
    std::vector<virtio::Chain::Segment> payload;
    std::size_t wanted = length;
    while (wanted > 0 && slots.size() < buffers) {
        std::optional<virtio::Chain> chain = take();
        if (!chain) {
            break;
        }
        std::vector<virtio::Chain::Segment> header = chain->take_writable(kHeaderSize);
        const std::size_t size = std::min(chain->writable(), wanted);
        const std::vector<virtio::Chain::Segment> part = chain->take_writable(size);
        payload.insert(payload.end(), part.begin(), part.end());
        wanted -= size;
        slots.push_back(
            {.chain = std::move(*chain), .header = std::move(header), .payload_max = size});
    }
    const std::size_t received = slots.empty() ? 0 : client.receive(payload);
    std::size_t left = received;
    for (Slot& slot : slots) {
        const auto size = static_cast<std::uint32_t>(std::min(left, slot.payload_max));
        if (size == 0) {
            // Only where the client sent descriptors along, which end a read early: the driver
            // drops what is shorter than a header.
            ring_.complete(std::move(slot.chain), 0);
            continue;
        }
        scatter(slot.header, encode(connection.payload(size), guest_cid_));
        ring_.complete(std::move(slot.chain), static_cast<std::uint32_t>(kHeaderSize) + size);
        left -= size;
    }
    return received;
}

}  // namespace pepita::vmm::vsock
