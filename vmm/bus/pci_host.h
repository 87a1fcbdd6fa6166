#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "kernel-abi/sys/units.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_function.h"

namespace pepita::vmm {

/// A function on bus 0: the device number in bits 3 to 7, the function's below.
enum class PciAddress : std::uint8_t {};

/// "0000:00:05.0", as Linux writes it.
std::string to_string(PciAddress address);

/// [start, start + size).
struct AddressRange {
    std::uint64_t start = 0;
    std::uint64_t size = 0;

    /// Whether all of [at, at + length) lies within.
    constexpr bool contains(std::uint64_t at, std::uint64_t length) const {
        return at >= start && at - start < size && length <= size - (at - start);
    }
};

/// PCI bus 0: the host bridge at 0:0.0 and up to 255 functions behind it, which come and go while
/// the guest runs. A guest finds new ones by a rescan of its bus.
///
/// Functions go where a guest finds them in the order of adding, and one that is removed depends on
/// no other: function 0 of each device first, then the functions 1 to 7 of all.
///
/// A BAR answers where the guest put it as long as memory space is enabled, the whole of it lies in
/// a window, and nobody else is there; otherwise it answers nowhere. So a guest can make its
/// devices unreachable, and never make one answer in place of RAM or of another.
///
/// Thread: the device loop's, but for what ecam() answers to vCPUs.
class PciHost {
public:
    static constexpr std::size_t kFunctionsMax = 256;
    /// A BAR is no larger: each function has a place of its own in memory64.
    static constexpr Bytes kBarMax = 1_MiB;

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

    /// Puts the function on the bus and its BAR into the 64-bit window; it answers there when the
    /// guest enables memory space. Errors: ResourceExhausted where the bus is full.
    Result<PciAddress> add(std::unique_ptr<PciFunction> function);

    /// Destroys the function; no vCPU is inside it any more. The guest does not notice: its driver
    /// has let go of it before. Errors: FailedPrecondition for function 0 of a device that has
    /// others, which a guest finds by it alone.
    Result<void> remove(PciAddress address);

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

    std::optional<std::size_t> free_place() const;

    AddressMap& mmio_;
    Windows windows_;
    // By PciAddress, null where there is none; the loop's.
    std::array<std::unique_ptr<Slot>, kFunctionsMax> slots_;
    // The functions of slots_, as vCPUs find them. Held while one reads configuration space; taken
    // before a function's own lock, never while the map is changed.
    AdaptiveMutex mutex_;
    std::array<PciFunction*, kFunctionsMax> functions_ PEPITA_GUARDED_BY(mutex_){};
    Ecam ecam_{*this};
};

}  // namespace pepita::vmm
