#pragma once

#include <cstdint>

/// What every virtio device shares with its driver, whatever carries it.
/// Source: virtio 1.2 §2.1 (status), §5 (device types), §6 (reserved feature bits).
namespace pepita::abi {

inline constexpr std::uint32_t kVirtioDeviceBlock = 2;
inline constexpr std::uint32_t kVirtioDeviceEntropy = 4;
inline constexpr std::uint32_t kVirtioDeviceVsock = 19;

inline constexpr std::uint8_t kVirtioStatusAcknowledge = 1;
inline constexpr std::uint8_t kVirtioStatusDriver = 2;
inline constexpr std::uint8_t kVirtioStatusDriverOk = 4;
inline constexpr std::uint8_t kVirtioStatusFeaturesOk = 8;
inline constexpr std::uint8_t kVirtioStatusNeedsReset = 64;
inline constexpr std::uint8_t kVirtioStatusFailed = 128;

/// The mask of a feature bit.
constexpr std::uint64_t virtio_feature(unsigned bit) { return std::uint64_t{1} << bit; }

inline constexpr std::uint64_t kVirtioFIndirectDesc = virtio_feature(28);
inline constexpr std::uint64_t kVirtioFEventIdx = virtio_feature(29);
inline constexpr std::uint64_t kVirtioFVersion1 = virtio_feature(32);
inline constexpr std::uint64_t kVirtioFAccessPlatform = virtio_feature(33);
inline constexpr std::uint64_t kVirtioFRingPacked = virtio_feature(34);
inline constexpr std::uint64_t kVirtioFInOrder = virtio_feature(35);
inline constexpr std::uint64_t kVirtioFOrderPlatform = virtio_feature(36);
inline constexpr std::uint64_t kVirtioFNotificationData = virtio_feature(38);
inline constexpr std::uint64_t kVirtioFRingReset = virtio_feature(40);

}  // namespace pepita::abi
