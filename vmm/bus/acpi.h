#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernel-abi/virtio/guest_memory.h"

namespace pepita::vmm {

struct AcpiOptions {
    std::uint32_t vcpus = 1;
    bool has_serial = false;
};

/// The tables that describe our machine to the guest, the RSDP first, to be put at `at`: RSDP,
/// XSDT, FADT of the hardware-reduced kind, MADT, MCFG, DSDT.
/// Source: ACPI 6.5; what is where stands in vmm/boot/layout.h.
std::vector<std::byte> acpi_tables(virtio::GuestAddress at, const AcpiOptions& options);

}  // namespace pepita::vmm
