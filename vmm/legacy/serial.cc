#include "vmm/legacy/serial.h"

#include <sys/poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
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

constexpr std::chrono::milliseconds kFlushDelay{5};

}  // namespace

Result<std::unique_ptr<Serial>> Serial::create(EventLoop& loop, FdRef output,
                                               OnInterrupt on_interrupt) {
    std::unique_ptr<Serial> serial(
        new Serial(loop, output, std::move(on_interrupt), TRY(create_eventfd())));
    serial->watch_ = TRY(loop.watch(serial->buffered_.ref(), EPOLLIN, [&self = *serial](auto) {
        (void)drain_eventfd(self.buffered_.ref());
        self.flush_soon();
    }));
    return serial;
}

Serial::~Serial() { flush(); }

void Serial::read(std::uint64_t offset, std::span<std::byte> into) {
    const AdaptiveLock lock(mutex_);
    store(into, read_register(offset));
}

// Left to the loop: what may raise the interrupt, and a byte for which there is no room.
Written Serial::write(std::uint64_t offset, std::span<const std::byte> from) {
    const auto value = static_cast<std::uint8_t>(load(from));
    const AdaptiveLock lock(mutex_);
    switch (offset) {
        case kData:
            if (has_divisor_access()) {
                divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00U) | value);
                return Written::Done;
            }
            return buffer(from.front()) ? Written::Done : Written::NeedsLoop;
        case kInterruptEnable:
            if (has_divisor_access()) {
                divisor_ =
                    static_cast<std::uint16_t>((divisor_ & 0xffU) | (std::uint32_t{value} << 8U));
                return Written::Done;
            }
            return Written::NeedsLoop;
        case kModemControl:
            return Written::NeedsLoop;
        case kInterruptId:
            has_fifo_ = (value & 1U) != 0;
            return Written::Done;
        case kLineControl:
            line_control_ = value;
            return Written::Done;
        case kScratch:
            scratch_ = value;
            return Written::Done;
        default:
            return Written::Done;
    }
}

void Serial::write_on_loop(std::uint64_t offset, std::span<const std::byte> from) {
    if (offset == kData) {
        flush();
    }
    const AdaptiveLock lock(mutex_);
    if (offset == kData) {
        (void)buffer(from.front());  // another vCPU may have filled it again; then it is dropped
    } else if (offset == kInterruptEnable) {
        set_interrupt_enable(static_cast<std::uint8_t>(load(from)));
    } else if (offset == kModemControl) {
        modem_control_ = static_cast<std::uint8_t>(load(from)) & 0x1fU;
        update_interrupt();
    }
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

void Serial::set_interrupt_enable(std::uint8_t value) {
    // Enabling it while the transmitter is empty raises it, as on the chip.
    const bool was_enabled = (interrupt_enable_ & kTransmitEmptyEnable) != 0;
    interrupt_enable_ = value & 0x0fU;
    if (!was_enabled && (interrupt_enable_ & kTransmitEmptyEnable) != 0) {
        is_transmit_pending_ = true;
    }
    update_interrupt();
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

/// False where there is no room. In loopback the byte leaves the chip nowhere.
bool Serial::buffer(std::byte value) {
    if (buffer_used_ == buffer_.size()) {
        return false;
    }
    const bool is_loopback = (modem_control_ & kLoopback) != 0;
    if (buffer_used_ == 0 || is_loopback) {
        signal_eventfd(buffered_.ref());  // in loopback, too: the interrupt comes all the same
    }
    buffer_[buffer_used_] = value;
    buffer_used_ += is_loopback ? 0 : 1;
    return true;
}

/// A driver that waits for the interrupt gets it at once. The others are not waiting, and waking
/// the loop for every byte would cost them more than the exit.
void Serial::flush_soon() {
    const auto is_awaited = [this] {
        const AdaptiveLock lock(mutex_);
        return (interrupt_enable_ & kTransmitEmptyEnable) != 0;
    };
    if (is_awaited()) {
        flush();
    } else {
        flush_timer_ = loop_.after(kFlushDelay, [this] { flush(); });
    }
}

void Serial::flush() {
    std::array<std::byte, kBufferSize> bytes;
    std::size_t size = 0;
    {
        const AdaptiveLock lock(mutex_);
        bytes = buffer_;
        size = std::exchange(buffer_used_, 0);
    }
    pollfd ready = {.fd = output_.number(), .events = POLLOUT, .revents = 0};
    if (size != 0 && ::poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0) {
        (void)!::write(output_.number(), bytes.data(), size);
    }
    const AdaptiveLock lock(mutex_);
    is_transmit_pending_ = true;
    // The wire goes down and up again, or an edge would be missed.
    on_interrupt_(Ioapic::Level::Low);
    update_interrupt();
}

void Serial::update_interrupt() {
    const bool is_asserted =
        is_transmit_pending_ && (interrupt_enable_ & kTransmitEmptyEnable) != 0;
    on_interrupt_(is_asserted ? Ioapic::Level::High : Ioapic::Level::Low);
}

}  // namespace pepita::vmm
