#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/guest_memory.h"

namespace pepita::vmm {

/// What a kernel is started with. Files are borrowed for the call.
struct BootSource {
    FdRef kernel;  // an ELF with a PVH entry
    std::optional<FdRef> initrd;
    std::string_view command_line;
};

/// Where the boot processor begins, and what EBX holds there.
struct BootEntry {
    virtio::GuestAddress entry{};
    virtio::GuestAddress start_info{};
};

/// Puts kernel, initrd, command line and memory map into guest RAM, as the PVH protocol wants them.
/// The ACPI tables are expected at layout::kAcpiTables. Files are trusted no more than guests:
/// every number in them is bounded before it is used. Errors: InvalidArgument for a kernel that is
/// no such ELF, or truncated; OutOfRange where something does not fit into RAM or the command line
/// is too long; read(2)'s.
Result<BootEntry> load_pvh(const virtio::GuestMemory& memory, const BootSource& source);

}  // namespace pepita::vmm
