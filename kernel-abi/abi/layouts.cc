#include "kernel-abi/abi/layouts.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/acpi.h"
#include "kernel-abi/uapi/blk_mq.h"
#include "kernel-abi/uapi/io_uring.h"
#include "kernel-abi/uapi/pvh.h"
#include "kernel-abi/uapi/version.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/uapi/virtio_pci.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/uapi/virtio_vsock.h"

namespace pepita::abi_check {
namespace {

namespace pvh = abi::pvh;
namespace acpi = abi::acpi;

constexpr std::array kStartInfo{SAME(pvh::StartInfo, magic),
                                SAME(pvh::StartInfo, version),
                                SAME(pvh::StartInfo, flags),
                                MEMBER(pvh::StartInfo, module_count, "nr_modules"),
                                MEMBER(pvh::StartInfo, modules, "modlist_paddr"),
                                MEMBER(pvh::StartInfo, command_line, "cmdline_paddr"),
                                MEMBER(pvh::StartInfo, rsdp, "rsdp_paddr"),
                                MEMBER(pvh::StartInfo, memory_map, "memmap_paddr"),
                                MEMBER(pvh::StartInfo, memory_map_entries, "memmap_entries"),
                                SAME(pvh::StartInfo, reserved)};
constexpr std::array kModule{MEMBER(pvh::Module, address, "paddr"), SAME(pvh::Module, size),
                             MEMBER(pvh::Module, command_line, "cmdline_paddr"),
                             SAME(pvh::Module, reserved)};
constexpr std::array kMemoryMapEntry{
    MEMBER(pvh::MemoryMapEntry, address, "addr"), SAME(pvh::MemoryMapEntry, size),
    SAME(pvh::MemoryMapEntry, type), SAME(pvh::MemoryMapEntry, reserved)};

constexpr std::array kVringDesc{MEMBER(abi::VirtqDesc, address, "addr"),
                                MEMBER(abi::VirtqDesc, length, "len"), SAME(abi::VirtqDesc, flags),
                                SAME(abi::VirtqDesc, next)};
constexpr std::array kVringUsedElement{SAME(abi::VirtqUsedElement, id),
                                       MEMBER(abi::VirtqUsedElement, length, "len")};
constexpr std::array kVirtioBlkConfig{SAME(abi::VirtioBlkConfig, capacity),
                                      SAME(abi::VirtioBlkConfig, size_max),
                                      SAME(abi::VirtioBlkConfig, seg_max),
                                      MEMBER(abi::VirtioBlkConfig, cylinders, "geometry.cylinders"),
                                      MEMBER(abi::VirtioBlkConfig, heads, "geometry.heads"),
                                      MEMBER(abi::VirtioBlkConfig, sectors, "geometry.sectors"),
                                      SAME(abi::VirtioBlkConfig, blk_size),
                                      SAME(abi::VirtioBlkConfig, physical_block_exp),
                                      SAME(abi::VirtioBlkConfig, alignment_offset),
                                      SAME(abi::VirtioBlkConfig, min_io_size),
                                      SAME(abi::VirtioBlkConfig, opt_io_size),
                                      MEMBER(abi::VirtioBlkConfig, writeback, "wce"),
                                      MEMBER(abi::VirtioBlkConfig, unused0, "unused"),
                                      SAME(abi::VirtioBlkConfig, num_queues),
                                      SAME(abi::VirtioBlkConfig, max_discard_sectors),
                                      SAME(abi::VirtioBlkConfig, max_discard_seg),
                                      SAME(abi::VirtioBlkConfig, discard_sector_alignment),
                                      SAME(abi::VirtioBlkConfig, max_write_zeroes_sectors),
                                      SAME(abi::VirtioBlkConfig, max_write_zeroes_seg),
                                      SAME(abi::VirtioBlkConfig, write_zeroes_may_unmap),
                                      SAME(abi::VirtioBlkConfig, unused1)};
constexpr std::array kVirtioBlkHeader{SAME(abi::VirtioBlkRequestHeader, type),
                                      MEMBER(abi::VirtioBlkRequestHeader, reserved, "ioprio"),
                                      SAME(abi::VirtioBlkRequestHeader, sector)};
constexpr std::array kVsockHeader{
    SAME(abi::VsockHeader, src_cid),   SAME(abi::VsockHeader, dst_cid),
    SAME(abi::VsockHeader, src_port),  SAME(abi::VsockHeader, dst_port),
    SAME(abi::VsockHeader, len),       SAME(abi::VsockHeader, type),
    SAME(abi::VsockHeader, op),        SAME(abi::VsockHeader, flags),
    SAME(abi::VsockHeader, buf_alloc), SAME(abi::VsockHeader, fwd_cnt)};
constexpr std::array kVsockConfig{SAME(abi::VsockConfigSpace, guest_cid)};
constexpr std::array kPciCapability{MEMBER(abi::VirtioPciCapability, id, "cap_vndr"),
                                    MEMBER(abi::VirtioPciCapability, next, "cap_next"),
                                    MEMBER(abi::VirtioPciCapability, length, "cap_len"),
                                    MEMBER(abi::VirtioPciCapability, type, "cfg_type"),
                                    SAME(abi::VirtioPciCapability, bar),
                                    MEMBER(abi::VirtioPciCapability, structure_id, "id"),
                                    SAME(abi::VirtioPciCapability, padding),
                                    SAME(abi::VirtioPciCapability, offset),
                                    MEMBER(abi::VirtioPciCapability, structure_length, "length")};
constexpr std::array kPciCommonConfig{
    SAME(abi::VirtioPciCommonConfig, device_feature_select),
    SAME(abi::VirtioPciCommonConfig, device_feature),
    MEMBER(abi::VirtioPciCommonConfig, driver_feature_select, "guest_feature_select"),
    MEMBER(abi::VirtioPciCommonConfig, driver_feature, "guest_feature"),
    MEMBER(abi::VirtioPciCommonConfig, config_msix_vector, "msix_config"),
    SAME(abi::VirtioPciCommonConfig, num_queues),
    SAME(abi::VirtioPciCommonConfig, device_status),
    SAME(abi::VirtioPciCommonConfig, config_generation),
    SAME(abi::VirtioPciCommonConfig, queue_select),
    SAME(abi::VirtioPciCommonConfig, queue_size),
    SAME(abi::VirtioPciCommonConfig, queue_msix_vector),
    SAME(abi::VirtioPciCommonConfig, queue_enable),
    SAME(abi::VirtioPciCommonConfig, queue_notify_off),
    MEMBER(abi::VirtioPciCommonConfig, queue_desc_low, "queue_desc_lo"),
    MEMBER(abi::VirtioPciCommonConfig, queue_desc_high, "queue_desc_hi"),
    MEMBER(abi::VirtioPciCommonConfig, queue_driver_low, "queue_avail_lo"),
    MEMBER(abi::VirtioPciCommonConfig, queue_driver_high, "queue_avail_hi"),
    MEMBER(abi::VirtioPciCommonConfig, queue_device_low, "queue_used_lo"),
    MEMBER(abi::VirtioPciCommonConfig, queue_device_high, "queue_used_hi")};
constexpr std::array kPciModernConfig{SAME(abi::VirtioPciCommonConfig, queue_notify_data),
                                      SAME(abi::VirtioPciCommonConfig, queue_reset)};

constexpr std::array kRsdp{SAME(acpi::Rsdp, signature),
                           SAME(acpi::Rsdp, checksum),
                           SAME(acpi::Rsdp, oem_id),
                           SAME(acpi::Rsdp, revision),
                           MEMBER(acpi::Rsdp, rsdt, "rsdt_physical_address"),
                           SAME(acpi::Rsdp, length),
                           MEMBER(acpi::Rsdp, xsdt, "xsdt_physical_address"),
                           SAME(acpi::Rsdp, extended_checksum),
                           SAME(acpi::Rsdp, reserved)};
constexpr std::array kAcpiHeader{SAME(acpi::Header, signature),
                                 SAME(acpi::Header, length),
                                 SAME(acpi::Header, revision),
                                 SAME(acpi::Header, checksum),
                                 SAME(acpi::Header, oem_id),
                                 SAME(acpi::Header, oem_table_id),
                                 SAME(acpi::Header, oem_revision),
                                 MEMBER(acpi::Header, creator_id, "asl_compiler_id"),
                                 MEMBER(acpi::Header, creator_revision, "asl_compiler_revision")};
constexpr std::array kGenericAddress{
    MEMBER(acpi::GenericAddress, space, "space_id"), SAME(acpi::GenericAddress, bit_width),
    SAME(acpi::GenericAddress, bit_offset),
    MEMBER(acpi::GenericAddress, access_size, "access_width"), SAME(acpi::GenericAddress, address)};
constexpr std::array kFadt{SAME(acpi::Fadt, header),
                           MEMBER(acpi::Fadt, firmware_ctrl, "facs"),
                           SAME(acpi::Fadt, dsdt),
                           SAME(acpi::Fadt, preferred_profile),
                           SAME(acpi::Fadt, century),
                           MEMBER(acpi::Fadt, boot_architecture, "boot_flags"),
                           SAME(acpi::Fadt, flags),
                           SAME(acpi::Fadt, reset_register),
                           SAME(acpi::Fadt, reset_value),
                           MEMBER(acpi::Fadt, arm_boot_architecture, "arm_boot_flags"),
                           MEMBER(acpi::Fadt, minor_version, "minor_revision"),
                           MEMBER(acpi::Fadt, x_firmware_ctrl, "Xfacs"),
                           MEMBER(acpi::Fadt, x_dsdt, "Xdsdt"),
                           SAME(acpi::Fadt, sleep_control),
                           SAME(acpi::Fadt, sleep_status),
                           MEMBER(acpi::Fadt, hypervisor, "hypervisor_id")};
constexpr std::array kMadt{SAME(acpi::Madt, header), MEMBER(acpi::Madt, local_apic, "address"),
                           SAME(acpi::Madt, flags)};
constexpr std::array kMadtLocalApic{MEMBER(acpi::MadtLocalApic, type, "header.type"),
                                    MEMBER(acpi::MadtLocalApic, length, "header.length"),
                                    MEMBER(acpi::MadtLocalApic, processor_uid, "processor_id"),
                                    MEMBER(acpi::MadtLocalApic, apic_id, "id"),
                                    MEMBER(acpi::MadtLocalApic, flags, "lapic_flags")};
constexpr std::array kMadtIoapic{MEMBER(acpi::MadtIoapic, type, "header.type"),
                                 MEMBER(acpi::MadtIoapic, length, "header.length"),
                                 SAME(acpi::MadtIoapic, id),
                                 SAME(acpi::MadtIoapic, reserved),
                                 SAME(acpi::MadtIoapic, address),
                                 MEMBER(acpi::MadtIoapic, first_interrupt, "global_irq_base")};

constexpr std::array kTypes{
    whole<pvh::StartInfo>("hvm_start_info", kStartInfo),
    whole<pvh::Module>("hvm_modlist_entry", kModule),
    whole<pvh::MemoryMapEntry>("hvm_memmap_table_entry", kMemoryMapEntry),
    whole<abi::VirtqDesc>("vring_desc", kVringDesc),
    whole<abi::VirtqUsedElement>("vring_used_elem", kVringUsedElement),
    // The padding at our end is not Linux's.
    start_of("virtio_blk_config", offsetof(abi::VirtioBlkConfig, unused1) + 3, kVirtioBlkConfig),
    whole<abi::VirtioBlkRequestHeader>("virtio_blk_outhdr", kVirtioBlkHeader),
    whole<abi::VsockHeader>("virtio_vsock_hdr", kVsockHeader),
    whole<abi::VsockConfigSpace>("virtio_vsock_config", kVsockConfig),
    whole<abi::VirtioPciCapability>("virtio_pci_cap", kPciCapability),
    start_of("virtio_pci_common_cfg", offsetof(abi::VirtioPciCommonConfig, queue_notify_data),
             kPciCommonConfig),
    start_of("virtio_pci_modern_common_cfg", sizeof(abi::VirtioPciCommonConfig), kPciModernConfig),
    whole<acpi::Rsdp>("acpi_table_rsdp", kRsdp),
    whole<acpi::Header>("acpi_table_header", kAcpiHeader),
    whole<acpi::GenericAddress>("acpi_generic_address", kGenericAddress),
    whole<acpi::Fadt>("acpi_table_fadt", kFadt), whole<acpi::Madt>("acpi_table_madt", kMadt),
    whole<acpi::MadtLocalApic>("acpi_madt_local_apic", kMadtLocalApic),
    whole<acpi::MadtIoapic>("acpi_madt_io_apic", kMadtIoapic)};

constexpr std::uint64_t value(abi::VsockOp op) { return static_cast<std::uint64_t>(op); }

constexpr std::array kEnumerators{
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_TYPE_STREAM", .value = abi::kVsockTypeStream},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_TYPE_SEQPACKET", .value = abi::kVsockTypeSeqpacket},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_OP_INVALID", .value = value(abi::VsockOp::Invalid)},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_OP_REQUEST", .value = value(abi::VsockOp::Request)},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_OP_RESPONSE", .value = value(abi::VsockOp::Response)},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_OP_RST", .value = value(abi::VsockOp::Rst)},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_OP_SHUTDOWN", .value = value(abi::VsockOp::Shutdown)},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_OP_RW", .value = value(abi::VsockOp::Rw)},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_OP_CREDIT_UPDATE",
                       .value = value(abi::VsockOp::CreditUpdate)},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_OP_CREDIT_REQUEST",
                       .value = value(abi::VsockOp::CreditRequest)},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_SHUTDOWN_RCV", .value = abi::kVsockShutdownReceive},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_SHUTDOWN_SEND", .value = abi::kVsockShutdownSend}};

}  // namespace

std::span<const ExpectedType> expected_types() {
    static const std::vector<ExpectedType> all = [] {
        std::vector<ExpectedType> types(kTypes.begin(), kTypes.end());
        for (const auto more : {io_uring_types(), kvm_types(), ublk_types(), virtio_types()}) {
            types.insert(types.end(), more.begin(), more.end());
        }
        return types;
    }();
    return all;
}

std::span<const ExpectedEnumerator> expected_enumerators() {
    static const std::vector<ExpectedEnumerator> all = [] {
        std::vector<ExpectedEnumerator> enumerators(kEnumerators.begin(), kEnumerators.end());
        const auto add = [&](std::span<const abi::Symbol> symbols) {
            for (const abi::Symbol& symbol : symbols) {
                enumerators.push_back(
                    {.name = symbol.linux_name, .value = symbol.value, .since = symbol.since});
            }
        };
        add(abi::kIoUringOps);
        add(abi::kIoUringRegisterOps);
        add(abi::kReqOps);
        add(abi::kReqFlagBits);
        return enumerators;
    }();
    return all;
}

}  // namespace pepita::abi_check
