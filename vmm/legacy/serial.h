#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/ioapic.h"

namespace pepita::vmm {

/// A 16550A UART that only sends: the guest's console, for debugging. Nothing is ever received.
/// Thread: the device loop's. Source: TI PC16550D datasheet.
class Serial final : public BusTarget {
public:
    using OnInterrupt = std::move_only_function<void(Ioapic::Level)>;

    /// `output` is borrowed for life. What it cannot take at once is dropped: a console that nobody
    /// reads must not stop the guest.
    Serial(FdRef output, OnInterrupt on_interrupt)
        : output_(output), on_interrupt_(std::move(on_interrupt)) {}

    void read(std::uint64_t offset, std::span<std::byte> into) override;
    void write(std::uint64_t offset, std::span<const std::byte> from) override;

private:
    std::uint8_t read_register(std::uint64_t offset);
    void write_register(std::uint64_t offset, std::uint8_t value);
    std::uint8_t identify_interrupt();
    std::uint8_t modem_status() const;
    void send(std::uint8_t value);
    void update_interrupt();
    bool has_divisor_access() const;

    FdRef output_;
    OnInterrupt on_interrupt_;
    std::uint16_t divisor_ = 12;
    std::uint8_t interrupt_enable_ = 0;
    std::uint8_t line_control_ = 0;
    std::uint8_t modem_control_ = 0;
    std::uint8_t scratch_ = 0;
    bool has_fifo_ = false;
    bool is_transmit_pending_ = false;  // "transmitter is empty" has not been read from IIR
};

}  // namespace pepita::vmm
