#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/bus/pci_config.h"

namespace pepita::vmm {

/// One PCI function, whatever it does: configuration space, and at most one memory BAR.
/// Thread: the device loop's.
class PciFunction {
public:
    PciFunction() = default;
    PciFunction(const PciFunction&) = delete;
    PciFunction& operator=(const PciFunction&) = delete;
    PciFunction(PciFunction&&) = delete;
    PciFunction& operator=(PciFunction&&) = delete;
    virtual ~PciFunction() = default;

    virtual PciConfig& config() = 0;

    /// The guest's accesses to configuration space, for functions in which they do more than
    /// config().read() and write().
    virtual void read_config(std::uint64_t offset, std::span<std::byte> into) {
        config().read(offset, into);
    }
    virtual void write_config(std::uint64_t offset, std::span<const std::byte> from) {
        config().write(offset, from);
    }

    /// Accesses within the BAR. `into` comes filled with ones. Any size, any alignment.
    virtual void read_bar(std::uint64_t offset, std::span<std::byte> into) {
        (void)offset;
        (void)into;
    }
    virtual void write_bar(std::uint64_t offset, std::span<const std::byte> from) {
        (void)offset;
        (void)from;
    }

    /// The BAR answers at `start` from now on, and until bar_unmapped().
    virtual void bar_mapped(virtio::GuestAddress start) { (void)start; }
    virtual void bar_unmapped() {}
};

}  // namespace pepita::vmm
