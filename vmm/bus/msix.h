#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/uapi/pci.h"
#include "vmm/bus/msi_sink.h"

namespace pepita::vmm {

/// The MSI-X vectors of one function (PCI Local Bus 3.0 §6.8.2): table, masks and pending bits.
/// The capability's control word lives in configuration space; its changes are told here.
class Msix {
public:
    /// `vectors` from 1 to 2048. `sink` is borrowed.
    Msix(std::uint16_t vectors, MsiSink& sink);

    std::uint16_t vectors() const { return static_cast<std::uint16_t>(table_.size()); }
    bool is_enabled() const { return (control_ & abi::pci::kMsixEnable) != 0; }

    /// The guest wrote the capability's control word: enable, and mask of the whole function.
    void set_control(std::uint16_t control);

    /// Sends the vector's message; remembers it as pending while masked. Nothing where MSI-X is not
    /// enabled or there is no such vector.
    void notify(std::uint16_t vector);

    /// The guest's accesses to the table: 4 or 8 bytes on their boundary, within the vectors that
    /// exist. Others reach nothing. `into` comes filled with ones.
    void read_table(std::uint64_t offset, std::span<std::byte> into) const;
    void write_table(std::uint64_t offset, std::span<const std::byte> from);

    /// The pending bits; there is no writing them.
    void read_pending(std::uint64_t offset, std::span<std::byte> into) const;

private:
    struct Vector {
        abi::pci::MsixEntry entry{
            .address_low = 0, .address_high = 0, .data = 0, .control = abi::pci::kMsixEntryMasked};
        bool is_pending = false;
    };
    bool is_access(std::uint64_t offset, std::size_t size) const;
    void deliver_pending(Vector& vector);

    MsiSink& sink_;
    std::uint16_t control_ = 0;
    std::vector<Vector> table_;
};

}  // namespace pepita::vmm
