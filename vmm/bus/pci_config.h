#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/pci.h"

namespace pepita::vmm {

/// A memory BAR as configuration space has it.
struct PciBar {
    Bytes size;                 // 0: there is none
    std::uint64_t address = 0;  // the guest writes it in halves: anything between two writes
    bool is_enabled = false;    // memory space is; whether it is mapped is the host's to say
};

/// The 256 bytes of one function's configuration space, and which of their bits the guest may
/// write. Sizing a BAR (PCI Local Bus 3.0 §6.2.5.1) needs no case of its own: of the all ones that
/// the guest writes, only the writable bits stay, and those say the size.
class PciConfig {
public:
    struct Identity {
        std::uint16_t vendor = 0;
        std::uint16_t device = 0;
        std::uint8_t revision = 0;
        std::uint32_t class_code = 0;  // base class, subclass, interface: 24 bits
        std::uint16_t subsystem_vendor = 0;
        std::uint16_t subsystem = 0;
    };
    explicit PciConfig(const Identity& identity);

    /// Makes registers 0 and 1 one 64-bit memory BAR. `size` is a power of two from 4 KiB.
    void add_bar(Bytes size);

    PciBar bar() const;
    void set_bar_address(std::uint64_t address);

    /// Appends a capability: `body` is what follows the id and the next pointer. The bits that are
    /// set in `writable` (as long as body, or empty) are the guest's. Gives the capability's
    /// offset.
    std::uint16_t add_capability(std::uint8_t id, std::span<const std::byte> body,
                                 std::span<const std::byte> writable = {});

    /// An access as the guest makes it: 1, 2 or 4 bytes on their boundary; others reach nothing.
    void read(std::uint64_t offset, std::span<std::byte> into) const;
    void write(std::uint64_t offset, std::span<const std::byte> from);

    /// The `size` bytes (1, 2, 4) at `offset`, and their change by the device itself.
    std::uint32_t get(std::uint16_t offset, std::size_t size) const;
    void set(std::uint16_t offset, std::size_t size, std::uint32_t value);

private:
    static bool is_access(std::uint64_t offset, std::size_t size);
    void allow(std::uint16_t offset, std::size_t size, std::uint32_t mask);

    std::array<std::byte, abi::pci::kConfigSize> values_{};
    std::array<std::byte, abi::pci::kConfigSize> writable_{};
    std::uint16_t next_capability_ = abi::pci::kHeaderSize;
    std::uint16_t last_link_ = abi::pci::kCapabilities;  // the pointer to hang the next one on
    Bytes bar_size_;
};

}  // namespace pepita::vmm
