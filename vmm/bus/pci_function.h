#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_config.h"

namespace pepita::vmm {

/// One PCI function, whatever it does: configuration space, and at most one memory BAR.
/// Thread: as BusTarget: any for read_config(), read_bar() and write_bar(), under a lock of the
/// function's; the device loop's for the rest.
class PciFunction {
public:
    PciFunction() = default;
    PciFunction(const PciFunction&) = delete;
    PciFunction& operator=(const PciFunction&) = delete;
    PciFunction(PciFunction&&) = delete;
    PciFunction& operator=(PciFunction&&) = delete;
    virtual ~PciFunction() = default;

    /// The guest's accesses to configuration space.
    virtual void read_config(std::uint64_t offset, std::span<std::byte> into) = 0;
    virtual void write_config(std::uint64_t offset, std::span<const std::byte> from) = 0;

    virtual PciBar bar() = 0;
    virtual void set_bar_address(std::uint64_t address) = 0;

    /// Accesses within the BAR. `into` comes filled with ones. Any size, any alignment.
    virtual void read_bar(std::uint64_t offset, std::span<std::byte> into) {
        (void)offset;
        (void)into;
    }
    virtual Written write_bar(std::uint64_t offset, std::span<const std::byte> from) {
        (void)offset;
        (void)from;
        return Written::Done;
    }
    /// For which write_bar() returned NeedsLoop.
    virtual void write_bar_on_loop(std::uint64_t offset, std::span<const std::byte> from) {
        (void)offset;
        (void)from;
    }

    /// The BAR answers at `start` from now on, and until bar_unmapped().
    virtual void bar_mapped(virtio::GuestAddress start) { (void)start; }
    virtual void bar_unmapped() {}
};

}  // namespace pepita::vmm
