#pragma once

#include <cstdint>

#include "kernel-abi/virtio/guest_memory.h"

/// Where everything lies in the guest's physical address space and among its I/O ports. ACPI tells
/// the guest the same numbers: whoever changes one here changes both.
///
///   0x0000_0000  RAM, up to 3 GiB
///   0xc000_0000  the 32-bit PCI window, 512 MiB
///   0xe000_0000  ECAM of bus 0, 1 MiB
///   0xfec0_0000  IOAPIC
///   0xfee0_0000  local APICs; as an MSI address too
///   4 GiB        RAM beyond the first 3 GiB
///   128 GiB      the 64-bit PCI window, 1 GiB
namespace pepita::vmm::layout {

inline constexpr std::uint64_t kLowRamEnd = 0xc000'0000;
inline constexpr std::uint64_t kHighRamStart = 0x1'0000'0000;

// PCI: one segment, one bus. Configuration space by ECAM only: the ports 0xcf8 and 0xcfc would cost
// two exits an access, and Linux prefers them. (6.1 says "Fatal: No config space access function"
// before it finds the ECAM in ACPI, and means nothing by it.)
inline constexpr std::uint64_t kMmio32Start = 0xc000'0000;
inline constexpr std::uint64_t kMmio32Size = 0x2000'0000;
inline constexpr std::uint64_t kEcamStart = 0xe000'0000;
inline constexpr std::uint64_t kEcamSize = 0x0010'0000;  // 32 devices * 8 functions * 4 KiB
/// 128 GiB: above all RAM (at most 64 GiB, the last of it ends below 66 GiB), and below 2^39, so
/// that a host with 39 physical address bits reaches it.
inline constexpr std::uint64_t kMmio64Start = 0x20'0000'0000;
inline constexpr std::uint64_t kMmio64Size = 0x4000'0000;

inline constexpr std::uint64_t kIoapicStart = 0xfec0'0000;
inline constexpr std::uint64_t kIoapicSize = 0x1000;
inline constexpr std::uint32_t kIoapicPins = 24;
inline constexpr std::uint64_t kLocalApicStart = 0xfee0'0000;
/// An MSI to APIC id N is a write here with bits 12 to 19 = N (Intel SDM 3A §11.11.1).
inline constexpr std::uint64_t kMsiAddressStart = 0xfee0'0000;

// I/O ports.
inline constexpr std::uint16_t kSerialPort = 0x3f8;  // COM1, 8 ports
inline constexpr std::uint16_t kSerialPorts = 8;
inline constexpr std::uint32_t kSerialPin = 4;        // of the IOAPIC
inline constexpr std::uint16_t kKeyboardPort = 0x64;  // the i8042's: 0xfe written resets
inline constexpr std::uint16_t kPanicPort = 0x505;    // the pvpanic device
inline constexpr std::uint16_t kSleepControlPort = 0x600;
inline constexpr std::uint16_t kSleepStatusPort = 0x601;
inline constexpr std::uint16_t kResetPort = 0x602;

/// What the guest writes there. SLP_TYP of _S5 and SLP_EN (ACPI 6.5 §4.8.3.7).
inline constexpr std::uint8_t kSleepTypeOff = 5;
inline constexpr std::uint8_t kResetValue = 0x06;

// Low memory, filled before the first instruction. All below 1 MiB and all declared reserved or
// read once by the kernel at start (PVH boot protocol).
inline constexpr virtio::GuestAddress kStartInfo{0x6000};     // hvm_start_info, modules, memory map
inline constexpr virtio::GuestAddress kCommandLine{0x20000};  // at most kCommandLineMax and its NUL
inline constexpr std::uint64_t kCommandLineMax = 2047;  // COMMAND_LINE_SIZE of Linux on x86, less 1
inline constexpr virtio::GuestAddress kAcpiTables{0xe0000};  // RSDP first
inline constexpr std::uint64_t kAcpiTablesSize = 0x1'0000;
inline constexpr virtio::GuestAddress kResetVector{0xffff0};  // where a BIOS would begin
inline constexpr std::uint64_t kLowMemoryEnd = 0x9'fc00;      // usable RAM ends; the hole follows
inline constexpr std::uint64_t kHighMemoryStart = 0x10'0000;  // usable again: 1 MiB

}  // namespace pepita::vmm::layout
