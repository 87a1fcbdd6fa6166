#pragma once

#include <cstdint>

#include "kernel-abi/uapi/virtio_vsock.h"

namespace pepita::vmm::vsock {

using abi::VsockOp;

/// The two ends of a connection, told apart by who they are and not by who sends.
struct Ports {
    std::uint32_t host = 0;
    std::uint32_t guest = 0;

    friend bool operator==(const Ports&, const Ports&) = default;
};

/// A packet without its payload, whichever way it goes.
struct Packet {
    Ports ports;
    VsockOp op = VsockOp::Invalid;
    std::uint32_t length = 0;  // of the payload
    std::uint32_t flags = 0;
    std::uint32_t buf_alloc = 0;
    std::uint32_t fwd_cnt = 0;
    std::uint16_t type = abi::kVsockTypeStream;

    friend bool operator==(const Packet&, const Packet&) = default;
};

enum class Verdict : std::uint8_t {
    Good,
    Refuse,  // answer it with RST
    Drop,    // not ours, or not to be answered
};

/// The guest's packet as our own copy of its header tells it, and whether it may be believed.
struct Decoded {
    Verdict verdict = Verdict::Drop;
    Packet packet;
};

/// `payload` is how many bytes stand behind the header in its chain.
Decoded decode(const abi::VsockHeader& header, std::uint64_t guest_cid, std::uint64_t payload);

/// The header of a packet from the host to the guest.
abi::VsockHeader encode(const Packet& packet, std::uint64_t guest_cid);

/// RST, the answer to a packet that no connection takes.
Packet refusal_of(const Packet& packet);

}  // namespace pepita::vmm::vsock
