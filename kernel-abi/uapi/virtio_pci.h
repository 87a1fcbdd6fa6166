#pragma once

#include <cstdint>

/// What a virtio device shows over PCI.
/// A comment behind a name gives the Linux that brought it; a name without one is in Linux 6.1.
/// Source: virtio 1.3 §4.1; Linux 7.3 include/uapi/linux/virtio_pci.h.
namespace pepita::abi {

// Identity, §4.1.2.
inline constexpr std::uint16_t kVirtioPciVendor = 0x1af4;
inline constexpr std::uint16_t kVirtioPciDeviceBase = 0x1040;  // plus the device type
inline constexpr std::uint8_t kVirtioPciRevision = 1;

/// §4.1.4: a vendor capability that locates a structure in a BAR.
struct VirtioPciCapability {
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

inline constexpr std::uint8_t kVirtioPciCapabilityCommon = 1;
inline constexpr std::uint8_t kVirtioPciCapabilityNotify = 2;
inline constexpr std::uint8_t kVirtioPciCapabilityIsr = 3;
inline constexpr std::uint8_t kVirtioPciCapabilityDevice = 4;
inline constexpr std::uint8_t kVirtioPciCapabilityWindow = 5;
inline constexpr std::uint8_t kVirtioPciCapabilitySharedMemory = 8;
inline constexpr std::uint8_t kVirtioPciCapabilityVendorData = 9;  // 6.14

/// §4.1.4.7: shared memory; the structure id is its number.
struct VirtioPciCapability64 {
    VirtioPciCapability capability;
    std::uint32_t offset_high;
    std::uint32_t length_high;
};

/// §4.1.4.8: begins data of a vendor. Since Linux 6.14.
struct VirtioPciVendorCapability {
    std::uint8_t id;
    std::uint8_t next;
    std::uint8_t length;
    std::uint8_t type;
    std::uint16_t vendor_id;
};

/// §4.1.4.4: the notification structure's capability.
struct VirtioPciNotifyCapability {
    VirtioPciCapability capability;
    std::uint32_t multiplier;
};

/// §4.1.4.9: the window into the BAR through configuration space.
struct VirtioPciWindowCapability {
    VirtioPciCapability capability;
    std::uint8_t data[4];
};

/// §4.1.4.3: the common configuration structure. Its 64-bit fields are written as two halves.
struct VirtioPciCommonConfig {
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

inline constexpr std::uint16_t kVirtioNoVector = 0xffff;

// §4.1.4.5: the ISR status byte.
inline constexpr std::uint8_t kVirtioIsrQueue = 1;
inline constexpr std::uint8_t kVirtioIsrConfig = 2;

}  // namespace pepita::abi
