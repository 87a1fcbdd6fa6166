#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/msi_sink.h"

namespace pepita::vmm {

/// The I/O APIC, for the few devices that have a wire instead of an MSI: each pin's redirection
/// entry says which message its edge becomes. Pins are edge-triggered here; a guest that asks for a
/// level gets one message per rising edge.
/// Thread: any for read(), write() and a wire that falls; the device loop's for the rest.
/// Source: Intel 82093AA datasheet.
class Ioapic final : public BusTarget {
public:
    /// `sink` is borrowed for life.
    explicit Ioapic(MsiSink& sink);

    void read(std::uint64_t offset, std::span<std::byte> into) override;
    Written write(std::uint64_t offset, std::span<const std::byte> from) override;
    void write_on_loop(std::uint64_t offset, std::span<const std::byte> from) override;

    enum class Level : std::uint8_t { Low, High };
    /// The device's wire changed. A rising edge while the pin is masked is kept, and sent once the
    /// guest unmasks it.
    void set_pin(std::uint32_t pin, Level level);

private:
    std::uint32_t read_register(std::uint32_t index) const PEPITA_REQUIRES(mutex_);
    void write_register(std::uint32_t index, std::uint32_t value) PEPITA_REQUIRES(mutex_);
    void deliver(std::uint32_t pin) PEPITA_REQUIRES(mutex_);

    struct Pin {
        std::uint64_t redirection;
        Level level = Level::Low;
        bool is_pending = false;
    };

    MsiSink& sink_;
    AdaptiveMutex mutex_;
    std::uint32_t selected_ PEPITA_GUARDED_BY(mutex_) = 0;
    std::uint32_t id_ PEPITA_GUARDED_BY(mutex_) = 0;
    std::array<Pin, layout::kIoapicPins> pins_ PEPITA_GUARDED_BY(mutex_);
};

}  // namespace pepita::vmm
