#pragma once

#include <array>
#include <cstdint>

/// ACPI tables in memory. Source: ACPI 6.5 §5.2; MCFG: PCI Firmware 3.3 §4.1.2.
namespace pepita::abi::acpi {

#pragma pack(push, 1)

struct Rsdp {  // §5.2.5.3
    std::array<char, 8> signature;
    std::uint8_t checksum;  // of the first 20 bytes
    std::array<char, 6> oem_id;
    std::uint8_t revision;
    std::uint32_t rsdt;
    std::uint32_t length;
    std::uint64_t xsdt;
    std::uint8_t extended_checksum;
    std::array<std::uint8_t, 3> reserved;
};

struct Header {  // §5.2.6
    std::array<char, 4> signature;
    std::uint32_t length;
    std::uint8_t revision;
    std::uint8_t checksum;
    std::array<char, 6> oem_id;
    std::array<char, 8> oem_table_id;
    std::uint32_t oem_revision;
    std::array<char, 4> creator_id;
    std::uint32_t creator_revision;
};

struct GenericAddress {  // §5.2.3.2
    std::uint8_t space;  // 0 memory, 1 I/O port
    std::uint8_t bit_width;
    std::uint8_t bit_offset;
    std::uint8_t access_size;  // 1: byte
    std::uint64_t address;
};

struct Fadt {  // §5.2.9
    Header header;
    std::uint32_t firmware_ctrl;
    std::uint32_t dsdt;
    std::uint8_t reserved;
    std::uint8_t preferred_profile;
    std::array<std::uint8_t, 62> legacy;  // PM1 to CENTURY: ignored where hardware is reduced
    std::uint8_t century;
    std::uint16_t boot_architecture;
    std::uint8_t reserved2;
    std::uint32_t flags;
    GenericAddress reset_register;
    std::uint8_t reset_value;
    std::uint16_t arm_boot_architecture;
    std::uint8_t minor_version;
    std::uint64_t x_firmware_ctrl;
    std::uint64_t x_dsdt;
    std::array<GenericAddress, 8> x_legacy;
    GenericAddress sleep_control;
    GenericAddress sleep_status;
    std::array<char, 8> hypervisor;
};

inline constexpr std::uint32_t kFadtWbinvd = 1U << 0U;
inline constexpr std::uint32_t kFadtResetRegister = 1U << 10U;
inline constexpr std::uint32_t kFadtHardwareReduced = 1U << 20U;
inline constexpr std::uint16_t kBootNoVga = 1U << 2U;
inline constexpr std::uint16_t kBootNoAspm = 1U << 4U;
inline constexpr std::uint16_t kBootNoCmosClock = 1U << 5U;

struct Madt {  // §5.2.12
    Header header;
    std::uint32_t local_apic;
    std::uint32_t flags;  // bit 0: there is a pair of 8259s
};

struct MadtLocalApic {  // §5.2.12.2
    std::uint8_t type;  // 0
    std::uint8_t length;
    std::uint8_t processor_uid;
    std::uint8_t apic_id;
    std::uint32_t flags;  // bit 0: enabled
};

struct MadtIoapic {     // §5.2.12.3
    std::uint8_t type;  // 1
    std::uint8_t length;
    std::uint8_t id;
    std::uint8_t reserved;
    std::uint32_t address;
    std::uint32_t first_interrupt;
};

struct Mcfg {
    Header header;
    std::uint64_t reserved;
    std::uint64_t base;
    std::uint16_t segment;
    std::uint8_t first_bus;
    std::uint8_t last_bus;
    std::uint32_t reserved2;
};

#pragma pack(pop)

}  // namespace pepita::abi::acpi
