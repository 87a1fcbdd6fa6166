#include "test/support/vsock_guest.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"
#include "vmm/vsock/packet.h"

namespace pepita::test {
namespace {

using virtio::GuestAddress;
using vmm::vsock::Packet;
using vmm::vsock::VsockOp;

constexpr std::uint16_t kSendQueueSize = 256;
constexpr std::uint32_t kHeaderSize = sizeof(abi::VsockHeader);

GuestAddress behind_header(GuestAddress at) {
    return GuestAddress{std::to_underlying(at) + kHeaderSize};
}

}  // namespace

abi::VsockHeader guest_header(const Packet& packet) {
    return {.src_cid = VsockGuest::kCid,
            .dst_cid = abi::kVsockHostCid,
            .src_port = packet.ports.guest,
            .dst_port = packet.ports.host,
            .len = packet.length,
            .type = packet.type,
            .op = std::to_underlying(packet.op),
            .flags = packet.flags,
            .buf_alloc = packet.buf_alloc,
            .fwd_cnt = packet.fwd_cnt};
}

VsockGuest::VsockGuest(virtio::Device& device)
    : device_(device),
      rx_(ram_, {.size = 2 * kReceiveBuffers}),
      tx_(ram_, {.size = kSendQueueSize}),
      events_(ram_),
      session_{.memory = ram_.memory(), .features = kRingFeatures, .notifier = notifier} {
    for (GuestAddress& at : receive_at_) {
        at = ram_.allocate(kHeaderSize + kPayloadMax);
    }
    send_at_ = ram_.allocate(kHeaderSize + kSendMax);
}

void VsockGuest::start(std::uint16_t buffers) {
    device_.start(session_);
    for (std::uint16_t slot = 0; slot < buffers; ++slot) {
        post(slot);
    }
    CHECK(device_.start_queue(abi::kVsockRxQueue, rx_.setup()).has_value());
    CHECK(device_.start_queue(abi::kVsockTxQueue, tx_.setup()).has_value());
    CHECK(device_.start_queue(abi::kVsockEventQueue, events_.setup()).has_value());
}

void VsockGuest::post(std::size_t slot) {
    const GuestAddress at = receive_at_.at(slot);
    // Two descriptors, as Linux 6.1 has them.
    const std::uint16_t head = rx_.add(
        {{.at = at, .length = kHeaderSize, .direction = Direction::FromDevice},
         {.at = behind_header(at), .length = kPayloadMax, .direction = Direction::FromDevice}});
    posted_[head] = slot;
}

void VsockGuest::refill() {
    for (const std::size_t slot : std::exchange(empty_, {})) {
        post(slot);
    }
    if (rx_.needs_kick()) {
        device_.kick(abi::kVsockRxQueue);
    }
}

void VsockGuest::send(const Packet& packet, std::string_view payload) {
    Packet sized = packet;
    sized.length = static_cast<std::uint32_t>(payload.size());
    CHECK(send_raw(guest_header(sized), payload));
}

bool VsockGuest::send_raw(const abi::VsockHeader& header, std::string_view payload) {
    CHECK(payload.size() <= kSendMax);
    while (tx_.collect()) {
        --sent_;
    }
    if (sent_ == kSendQueueSize) {
        return false;
    }
    ++sent_;
    ram_.write(send_at_, header);
    std::ranges::copy(std::as_bytes(std::span(payload)),
                      ram_.at(behind_header(send_at_), payload.size()).begin());
    (void)tx_.add({{.at = send_at_,
                    .length = kHeaderSize + static_cast<std::uint32_t>(payload.size()),
                    .direction = Direction::ToDevice}});
    if (tx_.needs_kick()) {
        device_.kick(abi::kVsockTxQueue);
    }
    return true;
}

std::optional<VsockMessage> VsockGuest::receive() {
    const std::optional<abi::VirtqUsedElement> used = rx_.collect();
    if (!used) {
        return std::nullopt;
    }
    const std::size_t slot = posted_.extract(used->id).mapped();
    CHECK(used->length >= kHeaderSize);
    const GuestAddress at = receive_at_.at(slot);
    const auto header = ram_.read<abi::VsockHeader>(at);
    CHECK(header.len == used->length - kHeaderSize);
    CHECK(header.src_cid == abi::kVsockHostCid);
    CHECK(header.dst_cid == kCid);
    VsockMessage message{.op = VsockOp{header.op},
                         .ports = {.host = header.src_port, .guest = header.dst_port},
                         .flags = header.flags,
                         .buf_alloc = header.buf_alloc,
                         .fwd_cnt = header.fwd_cnt,
                         .type = header.type,
                         .payload = ram_.text_at(behind_header(at), header.len)};
    empty_.push_back(slot);
    if (refills) {
        refill();
    }
    return message;
}

}  // namespace pepita::test
