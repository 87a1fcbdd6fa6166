#include "vmm/vsock/packet.h"

#include <cstdint>
#include <utility>

#include "kernel-abi/uapi/virtio_vsock.h"

namespace pepita::vmm::vsock {
namespace {

bool is_known(std::uint16_t op) {
    return op >= std::to_underlying(VsockOp::Request) &&
           op <= std::to_underlying(VsockOp::CreditRequest);
}

}  // namespace

Decoded decode(const abi::VsockHeader& header, std::uint64_t guest_cid, std::uint64_t payload) {
    Decoded decoded;
    decoded.packet = {
        .ports = {.host = header.dst_port, .guest = header.src_port},
        .op = is_known(header.op) ? VsockOp{header.op} : VsockOp::Invalid,
        .length = header.len,
        .flags = header.flags,
        .buf_alloc = header.buf_alloc,
        .fwd_cnt = header.fwd_cnt,
        .type = header.type,
    };
    if (header.src_cid != guest_cid || header.dst_cid != abi::kVsockHostCid) {
        decoded.verdict = Verdict::Drop;
    } else if (header.type == abi::kVsockTypeStream && header.len <= payload &&
               decoded.packet.op != VsockOp::Invalid) {
        decoded.verdict = Verdict::Good;
    } else {
        // virtio 1.2 §5.10.6.4.1; and a RST for a RST would go back and forth for ever.
        decoded.verdict = decoded.packet.op == VsockOp::Rst ? Verdict::Drop : Verdict::Refuse;
    }
    return decoded;
}

abi::VsockHeader encode(const Packet& packet, std::uint64_t guest_cid) {
    return {
        .src_cid = abi::kVsockHostCid,
        .dst_cid = guest_cid,
        .src_port = packet.ports.host,
        .dst_port = packet.ports.guest,
        .len = packet.length,
        .type = packet.type,
        .op = std::to_underlying(packet.op),
        .flags = packet.flags,
        .buf_alloc = packet.buf_alloc,
        .fwd_cnt = packet.fwd_cnt,
    };
}

Packet refusal_of(const Packet& packet) {
    return {.ports = packet.ports, .op = VsockOp::Rst, .type = packet.type};
}

}  // namespace pepita::vmm::vsock
