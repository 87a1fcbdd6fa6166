#pragma once

#include <cstdint>

/// What a virtio device shows as memory-mapped registers.
/// Source: virtio 1.3 §4.2; Linux 7.3 include/uapi/linux/virtio_mmio.h.
namespace pepita::abi {

/// What kVirtioMmioMagicValue and kVirtioMmioVersion read as (§4.2.2).
inline constexpr std::uint32_t kVirtioMmioMagic = 0x74726976;  // "virt"
inline constexpr std::uint32_t kVirtioMmioVersionModern = 2;

// Registers, by offset.
inline constexpr std::uint16_t kVirtioMmioMagicValue = 0x0;
inline constexpr std::uint16_t kVirtioMmioVersion = 0x4;
inline constexpr std::uint16_t kVirtioMmioDeviceId = 0x8;
inline constexpr std::uint16_t kVirtioMmioVendorId = 0xc;
inline constexpr std::uint16_t kVirtioMmioDeviceFeatures = 0x10;
inline constexpr std::uint16_t kVirtioMmioDeviceFeaturesSel = 0x14;
inline constexpr std::uint16_t kVirtioMmioDriverFeatures = 0x20;
inline constexpr std::uint16_t kVirtioMmioDriverFeaturesSel = 0x24;
inline constexpr std::uint16_t kVirtioMmioQueueSel = 0x30;
inline constexpr std::uint16_t kVirtioMmioQueueNumMax = 0x34;
inline constexpr std::uint16_t kVirtioMmioQueueNum = 0x38;
inline constexpr std::uint16_t kVirtioMmioQueueReady = 0x44;
inline constexpr std::uint16_t kVirtioMmioQueueNotify = 0x50;
inline constexpr std::uint16_t kVirtioMmioInterruptStatus = 0x60;
inline constexpr std::uint16_t kVirtioMmioInterruptAck = 0x64;
inline constexpr std::uint16_t kVirtioMmioStatus = 0x70;
inline constexpr std::uint16_t kVirtioMmioQueueDescLow = 0x80;
inline constexpr std::uint16_t kVirtioMmioQueueDescHigh = 0x84;
inline constexpr std::uint16_t kVirtioMmioQueueAvailLow = 0x90;
inline constexpr std::uint16_t kVirtioMmioQueueAvailHigh = 0x94;
inline constexpr std::uint16_t kVirtioMmioQueueUsedLow = 0xa0;
inline constexpr std::uint16_t kVirtioMmioQueueUsedHigh = 0xa4;
inline constexpr std::uint16_t kVirtioMmioShmSel = 0xac;
inline constexpr std::uint16_t kVirtioMmioShmLenLow = 0xb0;
inline constexpr std::uint16_t kVirtioMmioShmLenHigh = 0xb4;
inline constexpr std::uint16_t kVirtioMmioShmBaseLow = 0xb8;
inline constexpr std::uint16_t kVirtioMmioShmBaseHigh = 0xbc;
inline constexpr std::uint16_t kVirtioMmioConfigGeneration = 0xfc;
inline constexpr std::uint16_t kVirtioMmioConfig = 0x100;

// Of version 1 alone.
inline constexpr std::uint16_t kVirtioMmioGuestPageSize = 0x28;
inline constexpr std::uint16_t kVirtioMmioQueueAlign = 0x3c;
inline constexpr std::uint16_t kVirtioMmioQueuePfn = 0x40;

// Bits of kVirtioMmioInterruptStatus.
inline constexpr std::uint32_t kVirtioMmioIntVring = 1;
inline constexpr std::uint32_t kVirtioMmioIntConfig = 2;

}  // namespace pepita::abi
