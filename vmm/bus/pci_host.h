#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_config.h"
#include "vmm/bus/pci_function.h"

namespace pepita::vmm {

/// The device number of a function on bus 0; 0 is the host bridge.
enum class PciSlot : std::uint8_t {};

/// [start, start + size).
struct AddressRange {
    std::uint64_t start = 0;
    std::uint64_t size = 0;

    /// Whether all of [at, at + length) lies within.
    constexpr bool contains(std::uint64_t at, std::uint64_t length) const {
        return at >= start && at - start < size && length <= size - (at - start);
    }
};

/// PCI bus 0: the host bridge at 0:0.0 and up to 31 functions behind it.
///
/// A BAR answers where the guest put it as long as memory space is enabled, the whole of it lies in
/// a window, and nobody else is there; otherwise it answers nowhere. So a guest can make its
/// devices unreachable, and never make one answer in place of RAM or of another.
///
/// Thread: the device loop's.
class PciHost {
public:
    static constexpr std::size_t kSlots = 32;

    /// Where BARs may be; the same that the DSDT's _CRS says. New BARs are put into `memory64`.
    struct Windows {
        AddressRange memory32;
        AddressRange memory64;
    };

    /// `mmio` is borrowed; it outlives this.
    PciHost(AddressMap& mmio, const Windows& windows);
    PciHost(const PciHost&) = delete;
    PciHost& operator=(const PciHost&) = delete;
    PciHost(PciHost&&) = delete;
    PciHost& operator=(PciHost&&) = delete;
    ~PciHost();

    /// Puts the function into the next slot and its BAR into the 64-bit window; it answers there
    /// when the guest enables memory space. Functions are enumerated in the order of adding.
    /// Errors: ResourceExhausted where all slots are taken or the window is full.
    Result<PciSlot> add(std::unique_ptr<PciFunction> function);

    /// Configuration space as memory (PCI Express 5.0 §7.2.2): 1 MiB for bus 0. To be added to the
    /// map at the address that the MCFG table says.
    BusTarget& ecam() { return ecam_; }

    /// Configuration space by the ports 0xcf8 to 0xcff. Not needed by a guest that has an MCFG.
    BusTarget& ports() { return ports_; }

private:
    class Slot final : public BusTarget {
    public:
        explicit Slot(std::unique_ptr<PciFunction> it) : function(std::move(it)) {}
        void read(std::uint64_t offset, std::span<std::byte> into) override;
        void write(std::uint64_t offset, std::span<const std::byte> from) override;

        std::unique_ptr<PciFunction> function;
        std::optional<std::uint64_t> mapped;  // where the BAR answers now
    };
    class Ecam final : public BusTarget {
    public:
        explicit Ecam(PciHost& host) : host_(host) {}
        void read(std::uint64_t offset, std::span<std::byte> into) override;
        void write(std::uint64_t offset, std::span<const std::byte> from) override;

    private:
        PciHost& host_;
    };
    class Ports final : public BusTarget {
    public:
        explicit Ports(PciHost& host) : host_(host) {}
        void read(std::uint64_t offset, std::span<std::byte> into) override;
        void write(std::uint64_t offset, std::span<const std::byte> from) override;

    private:
        std::optional<std::uint64_t> target(std::uint64_t offset, std::size_t size) const;

        PciHost& host_;
        std::uint32_t address_ = 0;
    };

    // `at` as ECAM has it: device in bits 15 to 19, function in 12 to 14, register below.
    void read_config(std::uint64_t at, std::span<std::byte> into);
    void write_config(std::uint64_t at, std::span<const std::byte> from);
    PciFunction* function_at(std::uint64_t at);
    std::optional<std::uint64_t> wanted(const Slot& slot) const;
    void remap();
    void unmap(Slot& slot);

    AddressMap& mmio_;
    Windows windows_;
    std::uint64_t next_bar_;
    std::vector<std::unique_ptr<Slot>> slots_;  // by device number
    Ecam ecam_{*this};
    Ports ports_{*this};
};

}  // namespace pepita::vmm
