#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "vmm/bus/address_map.h"
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
/// Thread: the device loop's, but for what ecam() answers to vCPUs.
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

private:
    class Slot final : public BusTarget {
    public:
        explicit Slot(std::unique_ptr<PciFunction> it) : function(std::move(it)) {}
        void read(std::uint64_t offset, std::span<std::byte> into) override;
        Written write(std::uint64_t offset, std::span<const std::byte> from) override;
        void write_on_loop(std::uint64_t offset, std::span<const std::byte> from) override;

        std::unique_ptr<PciFunction> function;
        std::optional<std::uint64_t> mapped;  // where the BAR answers now
    };
    class Ecam final : public BusTarget {
    public:
        explicit Ecam(PciHost& host) : host_(host) {}
        void read(std::uint64_t offset, std::span<std::byte> into) override;
        Written write(std::uint64_t offset, std::span<const std::byte> from) override;
        void write_on_loop(std::uint64_t offset, std::span<const std::byte> from) override;

    private:
        PciHost& host_;
    };

    PciFunction* function_at(std::uint64_t at) const PEPITA_REQUIRES(mutex_);
    std::optional<std::uint64_t> wanted(const Slot& slot) const;
    void remap();
    void unmap(Slot& slot);

    AddressMap& mmio_;
    Windows windows_;
    std::uint64_t next_bar_;
    std::vector<std::unique_ptr<Slot>> slots_;  // by device number; the loop's
    // The functions of slots_, as vCPUs find them. Held while one reads configuration space; taken
    // before a function's own lock, never while the map is changed.
    AdaptiveMutex mutex_;
    std::array<PciFunction*, kSlots> functions_ PEPITA_GUARDED_BY(mutex_){};
    Ecam ecam_{*this};
};

}  // namespace pepita::vmm
