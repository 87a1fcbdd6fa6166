#include "kernel-abi/abi/layouts.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/acpi.h"
#include "kernel-abi/uapi/blk_mq.h"
#include "kernel-abi/uapi/btf.h"
#include "kernel-abi/uapi/pci.h"
#include "kernel-abi/uapi/pvh.h"
#include "kernel-abi/uapi/virtio_vsock.h"

namespace pepita::abi_check {
namespace {

namespace acpi = abi::acpi;
namespace btf = abi::btf;
namespace pci = abi::pci;
namespace pvh = abi::pvh;

constexpr std::tuple kLayouts{
    LAYOUT(acpi::Rsdp, "acpi_table_rsdp", 36, AT(signature, 0, 8), AT(checksum, 8, 1),
           AT(oem_id, 9, 6), AT(revision, 15, 1), AS(rsdt, "rsdt_physical_address", 16, 4),
           AT(length, 20, 4), AS(xsdt, "xsdt_physical_address", 24, 8),
           AT(extended_checksum, 32, 1), AT(reserved, 33, 3)),
    LAYOUT(acpi::Header, "acpi_table_header", 36, AT(signature, 0, 4), AT(length, 4, 4),
           AT(revision, 8, 1), AT(checksum, 9, 1), AT(oem_id, 10, 6), AT(oem_table_id, 16, 8),
           AT(oem_revision, 24, 4), AS(creator_id, "asl_compiler_id", 28, 4),
           AS(creator_revision, "asl_compiler_revision", 32, 4)),
    LAYOUT(acpi::GenericAddress, "acpi_generic_address", 12, AS(space, "space_id", 0, 1),
           AT(bit_width, 1, 1), AT(bit_offset, 2, 1), AS(access_size, "access_width", 3, 1),
           AT(address, 4, 8)),
    LAYOUT(acpi::Fadt, "acpi_table_fadt", 276, AT(header, 0, 36), AS(firmware_ctrl, "facs", 36, 4),
           AT(dsdt, 40, 4), OURS(reserved, 44, 1), AT(preferred_profile, 45, 1),
           OURS(legacy, 46, 62), AT(century, 108, 1), AS(boot_architecture, "boot_flags", 109, 2),
           OURS(reserved2, 111, 1), AT(flags, 112, 4), AT(reset_register, 116, 12),
           AT(reset_value, 128, 1), AS(arm_boot_architecture, "arm_boot_flags", 129, 2),
           AS(minor_version, "minor_revision", 131, 1), AS(x_firmware_ctrl, "Xfacs", 132, 8),
           AS(x_dsdt, "Xdsdt", 140, 8), OURS(x_legacy, 148, 96), AT(sleep_control, 244, 12),
           AT(sleep_status, 256, 12), AS(hypervisor, "hypervisor_id", 268, 8)),
    LAYOUT(acpi::Madt, "acpi_table_madt", 44, AT(header, 0, 36), AS(local_apic, "address", 36, 4),
           AT(flags, 40, 4)),
    LAYOUT(acpi::MadtLocalApic, "acpi_madt_local_apic", 8, AS(type, "header.type", 0, 1),
           AS(length, "header.length", 1, 1), AS(processor_uid, "processor_id", 2, 1),
           AS(apic_id, "id", 3, 1), AS(flags, "lapic_flags", 4, 4)),
    LAYOUT(acpi::MadtIoapic, "acpi_madt_io_apic", 12, AS(type, "header.type", 0, 1),
           AS(length, "header.length", 1, 1), AT(id, 2, 1), AT(reserved, 3, 1), AT(address, 4, 4),
           AS(first_interrupt, "global_irq_base", 8, 4)),
    LAYOUT(acpi::Mcfg, "", 60, AT(header, 0, 36), AT(reserved, 36, 8), AT(base, 44, 8),
           AT(segment, 52, 2), AT(first_bus, 54, 1), AT(last_bus, 55, 1), AT(reserved2, 56, 4)),
    BEGINNING(btf::Header, "btf_header", 24, 24, AT(magic, 0, 2), AT(version, 2, 1),
              AT(flags, 3, 1), AS(header_length, "hdr_len", 4, 4),
              AS(types_offset, "type_off", 8, 4), AS(types_length, "type_len", 12, 4),
              AS(strings_offset, "str_off", 16, 4), AS(strings_length, "str_len", 20, 4)),
    LAYOUT(btf::Type, "btf_type", 12, AS(name, "name_off", 0, 4), AT(info, 4, 4),
           AS(size_or_type, "type", 8, 4)),
    LAYOUT(btf::Member, "btf_member", 12, AS(name, "name_off", 0, 4), AT(type, 4, 4),
           AT(offset, 8, 4)),
    LAYOUT(btf::Array, "btf_array", 12, AT(type, 0, 4), AT(index_type, 4, 4),
           AS(count, "nelems", 8, 4)),
    LAYOUT(btf::Enumerator, "btf_enum", 8, AS(name, "name_off", 0, 4), AS(value, "val", 4, 4)),
    LAYOUT(btf::Enumerator64, "btf_enum64", 12, AS(name, "name_off", 0, 4),
           AS(value_low, "val_lo32", 4, 4), AS(value_high, "val_hi32", 8, 4)),
    LAYOUT(pci::MsixCapability, "", 10, AT(control, 0, 2), AT(table, 2, 4), AT(pending, 6, 4)),
    LAYOUT(pci::MsixEntry, "", 16, AT(address_low, 0, 4), AT(address_high, 4, 4), AT(data, 8, 4),
           AT(control, 12, 4)),
    LAYOUT(pvh::StartInfo, "hvm_start_info", 56, AT(magic, 0, 4), AT(version, 4, 4),
           AT(flags, 8, 4), AS(module_count, "nr_modules", 12, 4),
           AS(modules, "modlist_paddr", 16, 8), AS(command_line, "cmdline_paddr", 24, 8),
           AS(rsdp, "rsdp_paddr", 32, 8), AS(memory_map, "memmap_paddr", 40, 8),
           AS(memory_map_entries, "memmap_entries", 48, 4), AT(reserved, 52, 4)),
    LAYOUT(pvh::Module, "hvm_modlist_entry", 32, AS(address, "paddr", 0, 8), AT(size, 8, 8),
           AS(command_line, "cmdline_paddr", 16, 8), AT(reserved, 24, 8)),
    LAYOUT(pvh::MemoryMapEntry, "hvm_memmap_table_entry", 24, AS(address, "addr", 0, 8),
           AT(size, 8, 8), AT(type, 16, 4), AT(reserved, 20, 4)),
};
constexpr auto kTypes = types_of(kLayouts);

#define REQ_OP(linux_name, ours)                                                     \
    ExpectedEnumerator {                                                             \
        .name = "REQ_OP_" #linux_name, .value = std::to_underlying(abi::ReqOp::ours) \
    }
#define REQ_FLAG(linux_name, ours)                                                       \
    ExpectedEnumerator {                                                                 \
        .name = "__REQ_" #linux_name, .value = std::to_underlying(abi::ReqFlagBit::ours) \
    }
#define VSOCK_OP(linux_name, ours)                                                              \
    ExpectedEnumerator {                                                                        \
        .name = "VIRTIO_VSOCK_OP_" #linux_name, .value = std::to_underlying(abi::VsockOp::ours) \
    }
constexpr std::array kEnumerators = enumerators(
    REQ_OP(READ, Read), REQ_OP(WRITE, Write), REQ_OP(FLUSH, Flush), REQ_OP(DISCARD, Discard),
    REQ_OP(SECURE_ERASE, SecureErase), REQ_OP(WRITE_ZEROES, WriteZeroes), REQ_OP(DRV_IN, DrvIn),
    REQ_OP(DRV_OUT, DrvOut), REQ_FLAG(FAILFAST_DEV, FailfastDev),
    REQ_FLAG(FAILFAST_TRANSPORT, FailfastTransport), REQ_FLAG(FAILFAST_DRIVER, FailfastDriver),
    REQ_FLAG(SYNC, Sync), REQ_FLAG(META, Meta), REQ_FLAG(PRIO, Prio), REQ_FLAG(NOMERGE, Nomerge),
    REQ_FLAG(IDLE, Idle), REQ_FLAG(INTEGRITY, Integrity), REQ_FLAG(FUA, Fua),
    REQ_FLAG(PREFLUSH, Preflush), REQ_FLAG(RAHEAD, Rahead), REQ_FLAG(BACKGROUND, Background),
    REQ_FLAG(NOWAIT, Nowait), REQ_FLAG(POLLED, Polled), REQ_FLAG(ALLOC_CACHE, AllocCache),
    REQ_FLAG(SWAP, Swap), REQ_FLAG(DRV, Drv), REQ_FLAG(FS_PRIVATE, FsPrivate),
    REQ_FLAG(ATOMIC, Atomic), VSOCK_OP(INVALID, Invalid), VSOCK_OP(REQUEST, Request),
    VSOCK_OP(RESPONSE, Response), VSOCK_OP(RST, Rst), VSOCK_OP(SHUTDOWN, Shutdown),
    VSOCK_OP(RW, Rw), VSOCK_OP(CREDIT_UPDATE, CreditUpdate),
    VSOCK_OP(CREDIT_REQUEST, CreditRequest),
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_TYPE_STREAM", .value = abi::kVsockTypeStream},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_TYPE_SEQPACKET", .value = abi::kVsockTypeSeqpacket},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_SHUTDOWN_RCV", .value = abi::kVsockShutdownReceive},
    ExpectedEnumerator{.name = "VIRTIO_VSOCK_SHUTDOWN_SEND", .value = abi::kVsockShutdownSend});

}  // namespace

std::vector<ExpectedType> expected_types() {
    std::vector<ExpectedType> all;
    for (const std::span<const ExpectedType> types :
         {std::span<const ExpectedType>(kTypes), io_uring_types(), kvm_types(), ublk_types(),
          vhost_user_types(), virtio_types()}) {
        std::ranges::copy_if(types, std::back_inserter(all),
                             [](const ExpectedType& type) { return !type.name.empty(); });
    }
    return all;
}

std::vector<ExpectedEnumerator> expected_enumerators() {
    std::vector<ExpectedEnumerator> all(kEnumerators.begin(), kEnumerators.end());
    std::ranges::copy(io_uring_enumerators(), std::back_inserter(all));
    return all;
}

}  // namespace pepita::abi_check
