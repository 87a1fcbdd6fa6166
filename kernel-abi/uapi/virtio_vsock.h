#pragma once

#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

/// The socket device. All fields are little-endian, as we are.
/// Source: virtio 1.3 §5.10; Linux 7.3 include/uapi/linux/virtio_vsock.h.
namespace pepita::abi {

inline constexpr std::uint64_t kVsockHostCid = 2;

inline constexpr std::uint64_t kVsockFSeqpacket = virtio_feature(1);

/// Queues, in the order of their numbers.
inline constexpr std::uint16_t kVsockRxQueue = 0;  // device to driver
inline constexpr std::uint16_t kVsockTxQueue = 1;
inline constexpr std::uint16_t kVsockEventQueue = 2;

inline constexpr std::uint16_t kVsockTypeStream = 1;
inline constexpr std::uint16_t kVsockTypeSeqpacket = 2;

enum class VsockOp : std::uint16_t {
    Invalid = 0,
    Request = 1,
    Response = 2,
    Rst = 3,
    Shutdown = 4,
    Rw = 5,
    CreditUpdate = 6,
    CreditRequest = 7,
};

/// What the sender of a SHUTDOWN will no longer do; hints that only accumulate.
inline constexpr std::uint32_t kVsockShutdownReceive = 1;
inline constexpr std::uint32_t kVsockShutdownSend = 2;
inline constexpr std::uint32_t kVsockShutdownBoth = kVsockShutdownReceive | kVsockShutdownSend;

/// VsockHeader::flags of an RW of SEQPACKET: the end of a message, of a record (MSG_EOR).
inline constexpr std::uint32_t kVsockSeqEom = 1;
inline constexpr std::uint32_t kVsockSeqEor = 2;

/// Precedes each packet (§5.10.6). Packed: as C would lay it out it had 48 bytes.
struct [[gnu::packed]] VsockHeader {
    std::uint64_t src_cid;
    std::uint64_t dst_cid;
    std::uint32_t src_port;
    std::uint32_t dst_port;
    std::uint32_t len;
    std::uint16_t type;
    std::uint16_t op;
    std::uint32_t flags;
    std::uint32_t buf_alloc;
    std::uint32_t fwd_cnt;
};

/// The configuration space (§5.10.4).
struct VsockConfigSpace {
    std::uint64_t guest_cid;
};

/// On the event queue (§5.10.6.7).
struct VsockEvent {
    std::uint32_t id;
};

inline constexpr std::uint32_t kVsockEventTransportReset = 0;

}  // namespace pepita::abi
