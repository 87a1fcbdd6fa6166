#include "vmm/bus/acpi.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/uapi/acpi.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/aml.h"

namespace pepita::vmm {
namespace {

using Table = std::vector<std::byte>;

template <std::size_t N>
std::array<char, N> letters(std::string_view text) {
    std::array<char, N> filled{};
    std::ranges::fill(filled, ' ');
    std::ranges::copy(text.substr(0, N), filled.begin());
    return filled;
}

/// What makes the bytes add up to 0.
std::uint8_t checksum(std::span<const std::byte> bytes) {
    unsigned sum = 0;
    for (const std::byte b : bytes) {
        sum += std::to_integer<unsigned>(b);
    }
    return static_cast<std::uint8_t>(0U - sum);
}

abi::acpi::Header header(std::string_view signature, std::uint8_t revision) {
    return {.signature = letters<4>(signature),
            .length = 0,  // set by finished()
            .revision = revision,
            .checksum = 0,  // set by finished()
            .oem_id = letters<6>("PEPITA"),
            .oem_table_id = letters<8>("PEPITAVM"),
            .oem_revision = 1,
            .creator_id = letters<4>("PEPI"),
            .creator_revision = 1};
}

template <typename T>
void append(Table& table, const T& value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    table.insert(table.end(), bytes.begin(), bytes.end());
}

Table finished(Table table) {
    const auto length = static_cast<std::uint32_t>(table.size());
    std::memcpy(table.data() + offsetof(abi::acpi::Header, length), &length, sizeof(length));
    table[offsetof(abi::acpi::Header, checksum)] = std::byte{checksum(table)};
    return table;
}

abi::acpi::GenericAddress byte_port(std::uint16_t port) {
    return {.space = 1, .bit_width = 8, .bit_offset = 0, .access_size = 1, .address = port};
}

Table fadt(std::uint64_t dsdt) {
    abi::acpi::Fadt fadt{};
    fadt.header = header("FACP", 6);
    fadt.minor_version = 5;
    // Power and sleep buttons (bits 4 and 5) are not of the fixed kind: there are none.
    fadt.flags = abi::acpi::kFadtWbinvd | (3U << 4U) | abi::acpi::kFadtResetRegister |
                 abi::acpi::kFadtHardwareReduced;
    fadt.boot_architecture =
        abi::acpi::kBootNoVga | abi::acpi::kBootNoAspm | abi::acpi::kBootNoCmosClock;
    fadt.reset_register = byte_port(layout::kResetPort);
    fadt.reset_value = layout::kResetValue;
    fadt.x_dsdt = dsdt;
    fadt.sleep_control = byte_port(layout::kSleepControlPort);
    fadt.sleep_status = byte_port(layout::kSleepStatusPort);
    fadt.hypervisor = letters<8>("PEPITA");
    Table table;
    append(table, fadt);
    return finished(std::move(table));
}

Table madt(std::uint32_t vcpus) {
    Table table;
    append(table, abi::acpi::Madt{.header = header("APIC", 5),
                                  .local_apic = static_cast<std::uint32_t>(layout::kLocalApicStart),
                                  .flags = 0});
    for (std::uint32_t i = 0; i < vcpus; ++i) {
        append(table, abi::acpi::MadtLocalApic{.type = 0,
                                               .length = sizeof(abi::acpi::MadtLocalApic),
                                               .processor_uid = static_cast<std::uint8_t>(i),
                                               .apic_id = static_cast<std::uint8_t>(i),
                                               .flags = 1});
    }
    append(table, abi::acpi::MadtIoapic{.type = 1,
                                        .length = sizeof(abi::acpi::MadtIoapic),
                                        .id = 0,
                                        .reserved = 0,
                                        .address = static_cast<std::uint32_t>(layout::kIoapicStart),
                                        .first_interrupt = 0});
    return finished(std::move(table));
}

Table mcfg() {
    Table table;
    append(table, abi::acpi::Mcfg{.header = header("MCFG", 1),
                                  .reserved = 0,
                                  .base = layout::kEcamStart,
                                  .segment = 0,
                                  .first_bus = 0,
                                  .last_bus = 0,
                                  .reserved2 = 0});
    return finished(std::move(table));
}

/// Function 5 answers 0: the guest keeps our BARs where they are (PCI Firmware 3.3 §4.6.5).
aml::Term keep_bars_method() {
    constexpr std::array nothing = {std::byte{0}};
    constexpr std::array zero_and_five = {std::byte{0x21}};
    return aml::method(
        "_DSM", 4,
        {aml::if_true(
             aml::is_equal(aml::argument(0), aml::uuid("e5c937d0-3553-4d7a-9117-ea4d19c3434d")),
             {aml::if_true(aml::is_equal(aml::argument(2), aml::integer(0)),
                           {aml::give_back(aml::buffer(zero_and_five))}),
              aml::if_true(aml::is_equal(aml::argument(2), aml::integer(5)),
                           {aml::give_back(aml::integer(0))})}),
         aml::give_back(aml::buffer(nothing))});
}

aml::Term pci_bridge() {
    return aml::device(
        "PCI0",
        {aml::name("_HID", aml::eisa_id("PNP0A08")), aml::name("_CID", aml::eisa_id("PNP0A03")),
         aml::name("_UID", aml::integer(0)), aml::name("_SEG", aml::integer(0)),
         aml::name("_BBN", aml::integer(0)), aml::name("_CCA", aml::integer(1)),
         aml::name(
             "_CRS",
             aml::resources({aml::bus_numbers(0, 0),
                             aml::memory_window_32(static_cast<std::uint32_t>(layout::kMmio32Start),
                                                   static_cast<std::uint32_t>(layout::kMmio32Size)),
                             aml::memory_window_64(layout::kMmio64Start, layout::kMmio64Size)})),
         keep_bars_method()});
}

/// The ECAM as motherboard resource: Linux wants it reserved somewhere besides the MCFG.
aml::Term motherboard() {
    return aml::device(
        "MBRD", {aml::name("_HID", aml::eisa_id("PNP0C02")), aml::name("_UID", aml::integer(0)),
                 aml::name("_CRS", aml::resources({aml::fixed_memory_32(
                                       static_cast<std::uint32_t>(layout::kEcamStart),
                                       static_cast<std::uint32_t>(layout::kEcamSize))}))});
}

/// Linux's pvpanic-mmio driver: it writes 1 to the port when the kernel panics.
aml::Term panic_device() {
    return aml::device(
        "PEVT", {aml::name("_HID", aml::string("QEMU0001")), aml::name("_UID", aml::integer(0)),
                 aml::name("_CRS", aml::resources({aml::io_ports(layout::kPanicPort, 1)}))});
}

aml::Term serial_device() {
    return aml::device(
        "COM1",
        {aml::name("_HID", aml::eisa_id("PNP0501")), aml::name("_UID", aml::integer(0)),
         aml::name("_CRS", aml::resources({aml::io_ports(layout::kSerialPort, layout::kSerialPorts),
                                           aml::edge_interrupt(layout::kSerialPin)}))});
}

Table dsdt(const AcpiOptions& options) {
    Table table;
    append(table, header("DSDT", 2));
    const aml::Term devices =
        aml::scope("\\_SB", {pci_bridge(), motherboard(), panic_device(),
                             options.has_serial ? serial_device() : aml::Term{}});
    const aml::Term off = aml::name("\\_S5", aml::package({aml::integer(layout::kSleepTypeOff)}));
    table.insert(table.end(), devices.begin(), devices.end());
    table.insert(table.end(), off.begin(), off.end());
    return finished(std::move(table));
}

Table xsdt(std::span<const std::uint64_t> tables) {
    Table table;
    append(table, header("XSDT", 1));
    for (const std::uint64_t address : tables) {
        append(table, address);
    }
    return finished(std::move(table));
}

abi::acpi::Rsdp rsdp(std::uint64_t xsdt) {
    abi::acpi::Rsdp rsdp{};
    rsdp.signature = letters<8>("RSD PTR ");
    rsdp.oem_id = letters<6>("PEPITA");
    rsdp.revision = 2;
    rsdp.length = sizeof(rsdp);
    rsdp.xsdt = xsdt;
    const auto bytes = std::as_bytes(std::span(&rsdp, 1));
    rsdp.checksum = checksum(bytes.first(20));
    rsdp.extended_checksum = checksum(bytes);
    return rsdp;
}

}  // namespace

std::vector<std::byte> acpi_tables(virtio::GuestAddress at, const AcpiOptions& options) {
    std::vector<std::byte> all(sizeof(abi::acpi::Rsdp));
    const auto place = [&all, at](const Table& table) {
        all.resize((all.size() + 15) & ~std::size_t{15});
        const std::uint64_t address = std::to_underlying(at) + all.size();
        all.insert(all.end(), table.begin(), table.end());
        return address;
    };
    const std::uint64_t dsdt_at = place(dsdt(options));
    const std::array tables = {place(fadt(dsdt_at)), place(madt(options.vcpus)), place(mcfg())};
    const abi::acpi::Rsdp root = rsdp(place(xsdt(tables)));
    std::memcpy(all.data(), &root, sizeof(root));
    CHECK(all.size() <= layout::kAcpiTablesSize);
    return all;
}

}  // namespace pepita::vmm
