#pragma once

#include <cstdint>

/// Status bits and features that each virtio device has, over any transport.
/// A comment behind a name gives the Linux that brought it; a name without one is in Linux 6.1.
/// Source: virtio 1.3 §2.1 (status), §6 (reserved feature bits); Linux 7.3
/// include/uapi/linux/virtio_config.h.
namespace pepita::abi {

inline constexpr std::uint8_t kVirtioStatusAcknowledge = 1;
inline constexpr std::uint8_t kVirtioStatusDriver = 2;
inline constexpr std::uint8_t kVirtioStatusDriverOk = 4;
inline constexpr std::uint8_t kVirtioStatusFeaturesOk = 8;
inline constexpr std::uint8_t kVirtioStatusNeedsReset = 64;
inline constexpr std::uint8_t kVirtioStatusFailed = 128;

/// The mask of a feature bit.
constexpr std::uint64_t virtio_feature(unsigned bit) { return std::uint64_t{1} << bit; }

/// Bits of the ring and the transport, from the first to before the last; others are the device's.
inline constexpr unsigned kVirtioTransportFStart = 28;
inline constexpr unsigned kVirtioTransportFEnd = 42;

inline constexpr std::uint64_t kVirtioFNotifyOnEmpty = virtio_feature(24);  // before virtio 1.0
inline constexpr std::uint64_t kVirtioFAnyLayout = virtio_feature(27);      // likewise
inline constexpr std::uint64_t kVirtioFIndirectDesc = virtio_feature(28);
inline constexpr std::uint64_t kVirtioFEventIdx = virtio_feature(29);
inline constexpr std::uint64_t kVirtioFVersion1 = virtio_feature(32);
inline constexpr std::uint64_t kVirtioFAccessPlatform = virtio_feature(33);
inline constexpr std::uint64_t kVirtioFRingPacked = virtio_feature(34);
inline constexpr std::uint64_t kVirtioFInOrder = virtio_feature(35);
inline constexpr std::uint64_t kVirtioFOrderPlatform = virtio_feature(36);
inline constexpr std::uint64_t kVirtioFSrIov = virtio_feature(37);
inline constexpr std::uint64_t kVirtioFNotificationData = virtio_feature(38);  // 6.4
inline constexpr std::uint64_t kVirtioFNotifConfigData = virtio_feature(39);   // 6.7
inline constexpr std::uint64_t kVirtioFRingReset = virtio_feature(40);
inline constexpr std::uint64_t kVirtioFAdminVq = virtio_feature(41);  // 6.8

}  // namespace pepita::abi
