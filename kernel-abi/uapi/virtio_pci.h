#pragma once

#include <cstddef>
#include <cstdint>

/// What a virtio device shows over PCI, and the device status that every transport shares.
/// Source: virtio 1.2 §2.1, §4.1, §6; Linux include/uapi/linux/virtio_pci.h.
namespace pepita::abi::virtio {

// Device status, §2.1.
inline constexpr std::uint8_t kStatusAcknowledge = 1;
inline constexpr std::uint8_t kStatusDriver = 2;
inline constexpr std::uint8_t kStatusDriverOk = 4;
inline constexpr std::uint8_t kStatusFeaturesOk = 8;
inline constexpr std::uint8_t kStatusNeedsReset = 64;
inline constexpr std::uint8_t kStatusFailed = 128;

inline constexpr std::uint64_t kFeatureVersion1 = 1ULL << 32U;

// Identity, §4.1.2.
inline constexpr std::uint16_t kPciVendor = 0x1af4;
inline constexpr std::uint16_t kPciDeviceBase = 0x1040;  // plus the device type
inline constexpr std::uint8_t kPciRevision = 1;

/// §4.1.4: a vendor capability that says where in a BAR a structure lies.
struct PciCapability {
    std::uint8_t id;      // kCapabilityVendor
    std::uint8_t next;    // offset of the next capability, or 0
    std::uint8_t length;  // of this one, with what follows it
    std::uint8_t type;    // kCapability...
    std::uint8_t bar;
    std::uint8_t structure_id;
    std::uint8_t padding[2];
    std::uint32_t offset;
    std::uint32_t structure_length;
};
static_assert(sizeof(PciCapability) == 16);
static_assert(offsetof(PciCapability, bar) == 4);
static_assert(offsetof(PciCapability, offset) == 8);

inline constexpr std::uint8_t kCapabilityCommon = 1;
inline constexpr std::uint8_t kCapabilityNotify = 2;
inline constexpr std::uint8_t kCapabilityIsr = 3;
inline constexpr std::uint8_t kCapabilityDevice = 4;
inline constexpr std::uint8_t kCapabilityPciWindow = 5;

/// §4.1.4.4: the notification structure's capability.
struct PciNotifyCapability {
    PciCapability capability;
    std::uint32_t multiplier;
};
static_assert(sizeof(PciNotifyCapability) == 20);

/// §4.1.4.9: the window into the BAR through configuration space.
struct PciWindowCapability {
    PciCapability capability;
    std::uint8_t data[4];
};
static_assert(sizeof(PciWindowCapability) == 20);
static_assert(offsetof(PciWindowCapability, data) == 16);

/// §4.1.4.3: the common configuration structure. Its 64-bit fields are written as two halves.
struct PciCommonConfig {
    std::uint32_t device_feature_select;
    std::uint32_t device_feature;
    std::uint32_t driver_feature_select;
    std::uint32_t driver_feature;
    std::uint16_t config_msix_vector;
    std::uint16_t num_queues;
    std::uint8_t device_status;
    std::uint8_t config_generation;
    std::uint16_t queue_select;
    std::uint16_t queue_size;
    std::uint16_t queue_msix_vector;
    std::uint16_t queue_enable;
    std::uint16_t queue_notify_off;
    std::uint32_t queue_desc_low;
    std::uint32_t queue_desc_high;
    std::uint32_t queue_driver_low;
    std::uint32_t queue_driver_high;
    std::uint32_t queue_device_low;
    std::uint32_t queue_device_high;
    std::uint16_t queue_notify_data;
    std::uint16_t queue_reset;
};
static_assert(sizeof(PciCommonConfig) == 0x3c);
static_assert(offsetof(PciCommonConfig, config_msix_vector) == 0x10);
static_assert(offsetof(PciCommonConfig, device_status) == 0x14);
static_assert(offsetof(PciCommonConfig, queue_select) == 0x16);
static_assert(offsetof(PciCommonConfig, queue_enable) == 0x1c);
static_assert(offsetof(PciCommonConfig, queue_desc_low) == 0x20);
static_assert(offsetof(PciCommonConfig, queue_device_low) == 0x30);
static_assert(offsetof(PciCommonConfig, queue_reset) == 0x3a);

inline constexpr std::uint16_t kNoVector = 0xffff;

// §4.1.4.5: the ISR status byte.
inline constexpr std::uint8_t kIsrQueue = 1;
inline constexpr std::uint8_t kIsrConfig = 2;

}  // namespace pepita::abi::virtio
