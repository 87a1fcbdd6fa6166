#pragma once

#include <array>
#include <cstdint>

/// Sockets of AF_VSOCK.
/// Source: vsock(7); Linux 7.3 include/uapi/linux/vm_sockets.h.
namespace pepita::abi {

/// An address: bind(2), connect(2), accept(2).
struct SockaddrVm {
    std::uint16_t svm_family;  // AF_VSOCK
    std::uint16_t svm_reserved1;
    std::uint32_t svm_port;
    std::uint32_t svm_cid;
    std::uint8_t svm_flags;
    std::array<std::uint8_t, 3> svm_zero;
};

// SockaddrVm::svm_cid.
inline constexpr std::uint32_t kVmaddrCidAny = 0xffffffff;
inline constexpr std::uint32_t kVmaddrCidHypervisor = 0x0;
inline constexpr std::uint32_t kVmaddrCidLocal = 0x1;
inline constexpr std::uint32_t kVmaddrCidHost = 0x2;

// SockaddrVm::svm_port.
inline constexpr std::uint32_t kVmaddrPortAny = 0xffffffff;

// SockaddrVm::svm_flags.
inline constexpr std::uint8_t kVmaddrFlagToHost = 1;

// Options of the level AF_VSOCK.
inline constexpr int kSoVmSocketsBufferSize = 0;
inline constexpr int kSoVmSocketsBufferMinSize = 1;
inline constexpr int kSoVmSocketsBufferMaxSize = 2;
inline constexpr int kSoVmSocketsPeerHostVmId = 3;
inline constexpr int kSoVmSocketsTrusted = 5;
inline constexpr int kSoVmSocketsConnectTimeoutOld = 6;
inline constexpr int kSoVmSocketsNonblockTxrx = 7;
inline constexpr int kSoVmSocketsConnectTimeoutNew = 8;
inline constexpr int kSoVmSocketsConnectTimeout = 6;

// ioctl(2) of /dev/vsock.
inline constexpr std::uint32_t kIoctlVmSocketsGetLocalCid = 0x7b9;

// What a transport of no version says.
inline constexpr std::uint32_t kVmSocketsInvalidVersion = 0xffffffff;

// The level and type of control messages on the error queue.
inline constexpr int kSolVsock = 287;
inline constexpr int kVsockRecverr = 1;

}  // namespace pepita::abi
