#pragma once

#include <cstdint>

/// PCI configuration space: a type 0 header and MSI-X.
/// Source: PCI Local Bus 3.0 §6.1, §6.2, §6.8.2; Linux include/uapi/linux/pci_regs.h.
namespace pepita::abi::pci {

// The bytes of a header, by offset.
inline constexpr std::uint16_t kVendorId = 0x00;
inline constexpr std::uint16_t kDeviceId = 0x02;
inline constexpr std::uint16_t kCommand = 0x04;
inline constexpr std::uint16_t kStatus = 0x06;
inline constexpr std::uint16_t kRevision = 0x08;
inline constexpr std::uint16_t kHeaderType = 0x0e;
inline constexpr std::uint8_t kHeaderMultifunction = 0x80;
inline constexpr std::uint16_t kClassCode = 0x09;  // 3 bytes: interface, subclass, base class
inline constexpr std::uint16_t kCacheLineSize = 0x0c;
inline constexpr std::uint16_t kBar0 = 0x10;
inline constexpr std::uint16_t kBar1 = 0x14;
inline constexpr std::uint16_t kSubsystemVendorId = 0x2c;
inline constexpr std::uint16_t kSubsystemId = 0x2e;
inline constexpr std::uint16_t kCapabilities = 0x34;
inline constexpr std::uint16_t kInterruptLine = 0x3c;
inline constexpr std::uint16_t kHeaderSize = 0x40;
inline constexpr std::uint16_t kConfigSize = 0x100;

// Command register.
inline constexpr std::uint16_t kCommandMemory = 1U << 1U;
inline constexpr std::uint16_t kCommandBusMaster = 1U << 2U;
inline constexpr std::uint16_t kCommandInterruptDisable = 1U << 10U;

// Status register.
inline constexpr std::uint16_t kStatusInterrupt = 1U << 3U;
inline constexpr std::uint16_t kStatusCapabilities = 1U << 4U;

// Low bits of a memory base address register.
inline constexpr std::uint32_t kBarMemory64 = 0x4;
inline constexpr std::uint32_t kBarFlags = 0xf;

// Capability ids.
inline constexpr std::uint8_t kCapabilityVendor = 0x09;
inline constexpr std::uint8_t kCapabilityMsix = 0x11;

/// The MSI-X capability without its id and next pointer.
struct MsixCapability {
    std::uint16_t control;
    std::uint32_t table;    // offset in the BAR, with the BAR's index in the low 3 bits
    std::uint32_t pending;  // likewise
} __attribute__((packed));

inline constexpr std::uint16_t kMsixEnable = 1U << 15U;
inline constexpr std::uint16_t kMsixMaskAll = 1U << 14U;
inline constexpr std::uint16_t kMsixVectorsMax = 2048;

/// One vector of an MSI-X table.
struct MsixEntry {
    std::uint32_t address_low;
    std::uint32_t address_high;
    std::uint32_t data;
    std::uint32_t control;
};

inline constexpr std::uint32_t kMsixEntryMasked = 1;

// Configuration mechanism 1: two ports (PCI Local Bus 3.0 §3.2.2.3.2).
inline constexpr std::uint16_t kConfigAddressPort = 0xcf8;
inline constexpr std::uint16_t kConfigDataPort = 0xcfc;
inline constexpr std::uint16_t kConfigPorts = 8;
inline constexpr std::uint32_t kConfigAddressEnable = 1U << 31U;

}  // namespace pepita::abi::pci
