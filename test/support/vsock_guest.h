#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/uapi/virtio_vsock.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"
#include "vmm/vsock/packet.h"

namespace pepita::test {

/// What the device put into one receive buffer.
struct VsockMessage {
    vmm::vsock::VsockOp op = vmm::vsock::VsockOp::Invalid;
    vmm::vsock::Ports ports;
    std::uint32_t flags = 0;
    std::uint32_t buf_alloc = 0;
    std::uint32_t fwd_cnt = 0;
    std::uint16_t type = 0;
    std::string payload;
};

/// A guest's vsock driver, packet by packet: no socket and no credit but what the test says.
class VsockGuest {
public:
    static constexpr std::uint64_t kCid = 3;
    static constexpr std::uint16_t kReceiveBuffers = 32;
    static constexpr std::uint32_t kPayloadMax = 4096;  // of one receive buffer
    static constexpr std::uint32_t kSendMax = 65536;

    /// `device` is borrowed.
    explicit VsockGuest(virtio::Device& device);

    /// Takes the queues into use, with `buffers` receive buffers made available.
    void start(std::uint16_t buffers = kReceiveBuffers);
    /// Makes the buffers that receive() emptied available again.
    void refill();
    /// Whether receive() does that at once, as it does from the start.
    bool refills = true;

    void send(const vmm::vsock::Packet& packet, std::string_view payload = {});
    /// The header as it stands, valid or not, and whatever follows it. False where the device left
    /// so much that there is no room in the queue.
    bool send_raw(const abi::VsockHeader& header, std::string_view payload);
    std::optional<VsockMessage> receive();

    std::size_t empty_buffers() const { return empty_.size(); }
    CountingNotifier notifier;

private:
    void post(std::size_t slot);

    virtio::Device& device_;
    GuestRam ram_{1_MiB};
    QueueDriver rx_;
    QueueDriver tx_;
    QueueDriver events_;
    virtio::Session session_;
    std::array<virtio::GuestAddress, kReceiveBuffers> receive_at_{};
    std::map<std::uint32_t, std::size_t> posted_;  // head: slot
    std::vector<std::size_t> empty_;
    virtio::GuestAddress send_at_{};
    std::size_t sent_ = 0;  // and not taken back
};

/// A header from the guest to the host.
abi::VsockHeader guest_header(const vmm::vsock::Packet& packet);

}  // namespace pepita::test
