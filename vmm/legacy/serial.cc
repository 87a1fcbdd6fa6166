#include "vmm/legacy/serial.h"

#include <sys/poll.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmm/bus/access.h"
#include "vmm/bus/ioapic.h"

namespace pepita::vmm {
namespace {

// Registers by offset; 0 and 1 are the divisor while DLAB is set.
constexpr std::uint64_t kData = 0;
constexpr std::uint64_t kInterruptEnable = 1;
constexpr std::uint64_t kInterruptId = 2;  // FIFO control where written
constexpr std::uint64_t kLineControl = 3;
constexpr std::uint64_t kModemControl = 4;
constexpr std::uint64_t kLineStatus = 5;
constexpr std::uint64_t kModemStatus = 6;
constexpr std::uint64_t kScratch = 7;

constexpr std::uint8_t kDivisorAccess = 0x80;        // in line control
constexpr std::uint8_t kTransmitEmptyEnable = 0x02;  // in interrupt enable
constexpr std::uint8_t kNoInterrupt = 0x01;          // in interrupt id
constexpr std::uint8_t kTransmitEmptyId = 0x02;
constexpr std::uint8_t kFifosOn = 0xc0;
constexpr std::uint8_t kLineIdle = 0x60;  // holding register and shifter are empty, always
constexpr std::uint8_t kLoopback = 0x10;  // in modem control

}  // namespace

void Serial::read(std::uint64_t offset, std::span<std::byte> into) {
    store(into, read_register(offset));
}

void Serial::write(std::uint64_t offset, std::span<const std::byte> from) {
    write_register(offset, static_cast<std::uint8_t>(load(from)));
}

bool Serial::has_divisor_access() const { return (line_control_ & kDivisorAccess) != 0; }

std::uint8_t Serial::read_register(std::uint64_t offset) {
    switch (offset) {
        case kData:
            return has_divisor_access() ? static_cast<std::uint8_t>(divisor_) : 0;
        case kInterruptEnable:
            return has_divisor_access() ? static_cast<std::uint8_t>(divisor_ >> 8U)
                                        : interrupt_enable_;
        case kInterruptId:
            return identify_interrupt();
        case kLineControl:
            return line_control_;
        case kModemControl:
            return modem_control_;
        case kLineStatus:
            return kLineIdle;
        case kModemStatus:
            return modem_status();
        case kScratch:
            return scratch_;
        default:
            return 0xff;
    }
}

void Serial::write_register(std::uint64_t offset, std::uint8_t value) {
    switch (offset) {
        case kData:
            if (has_divisor_access()) {
                divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00U) | value);
            } else {
                send(value);
            }
            break;
        case kInterruptEnable:
            if (has_divisor_access()) {
                divisor_ =
                    static_cast<std::uint16_t>((divisor_ & 0xffU) | (std::uint32_t{value} << 8U));
            } else {
                // Enabling it while the transmitter is empty raises it, as on the chip.
                const bool was_enabled = (interrupt_enable_ & kTransmitEmptyEnable) != 0;
                interrupt_enable_ = value & 0x0fU;
                if (!was_enabled && (interrupt_enable_ & kTransmitEmptyEnable) != 0) {
                    is_transmit_pending_ = true;
                }
                update_interrupt();
            }
            break;
        case kInterruptId:
            has_fifo_ = (value & 1U) != 0;
            break;
        case kLineControl:
            line_control_ = value;
            break;
        case kModemControl:
            modem_control_ = value & 0x1fU;
            update_interrupt();
            break;
        case kScratch:
            scratch_ = value;
            break;
        default:
            break;
    }
}

std::uint8_t Serial::identify_interrupt() {
    std::uint8_t id = has_fifo_ ? kFifosOn : 0;
    if (is_transmit_pending_ && (interrupt_enable_ & kTransmitEmptyEnable) != 0) {
        id |= kTransmitEmptyId;
        is_transmit_pending_ = false;  // reading it acknowledges it
        update_interrupt();
    } else {
        id |= kNoInterrupt;
    }
    return id;
}

/// A line that is always ready; in loopback the driver's own lines, by which it finds the chip.
std::uint8_t Serial::modem_status() const {
    if ((modem_control_ & kLoopback) == 0) {
        return 0xb0;  // carrier, data set ready, clear to send
    }
    const unsigned control = modem_control_;
    return static_cast<std::uint8_t>(((control & 0x0cU) << 4U)      // OUT1, OUT2 -> RI, DCD
                                     | ((control & 0x02U) << 3U)    // RTS -> CTS
                                     | ((control & 0x01U) << 5U));  // DTR -> DSR
}

void Serial::send(std::uint8_t value) {
    if ((modem_control_ & kLoopback) == 0) {
        pollfd ready = {.fd = output_.number(), .events = POLLOUT, .revents = 0};
        if (::poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0) {
            (void)!::write(output_.number(), &value, 1);
        }
    }
    is_transmit_pending_ = true;
    // The wire goes down and up again for each byte, or an edge would be missed.
    on_interrupt_(Ioapic::Level::Low);
    update_interrupt();
}

void Serial::update_interrupt() {
    const bool is_asserted =
        is_transmit_pending_ && (interrupt_enable_ & kTransmitEmptyEnable) != 0;
    on_interrupt_(is_asserted ? Ioapic::Level::High : Ioapic::Level::Low);
}

}  // namespace pepita::vmm
