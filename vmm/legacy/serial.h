#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/ioapic.h"

namespace pepita::vmm {

/// A 16550A UART that only sends: the guest's console, for debugging. Nothing is ever received.
/// Thread: any for read() and write(); the device loop's for the rest. vCPUs put bytes into a
/// buffer; the loop writes them out within milliseconds and raises the interrupt. Source: TI
/// PC16550D datasheet.
class Serial final : public BusTarget {
public:
    /// Called with the lock held, so not back into the UART: on the loop for High, on any thread
    /// for Low.
    using OnInterrupt = std::move_only_function<void(Ioapic::Level)>;

    /// `loop` and `output` are borrowed for life. What the output cannot take at once is dropped: a
    /// console that is not read must not stop the guest. Errors: eventfd(2)'s, epoll_ctl(2)'s.
    static Result<std::unique_ptr<Serial>> create(EventLoop& loop, FdRef output,
                                                  OnInterrupt on_interrupt);
    /// Writes out what is buffered.
    ~Serial() override;
    Serial(const Serial&) = delete;
    Serial& operator=(const Serial&) = delete;
    Serial(Serial&&) = delete;
    Serial& operator=(Serial&&) = delete;

    void read(std::uint64_t offset, std::span<std::byte> into) override;
    Written write(std::uint64_t offset, std::span<const std::byte> from) override;
    void write_on_loop(std::uint64_t offset, std::span<const std::byte> from) override;

private:
    static constexpr std::size_t kBufferSize = 256;

    Serial(EventLoop& loop, FdRef output, OnInterrupt on_interrupt, Fd buffered)
        : loop_(loop),
          output_(output),
          buffered_(std::move(buffered)),
          on_interrupt_(std::move(on_interrupt)) {}
    std::uint8_t read_register(std::uint64_t offset) PEPITA_REQUIRES(mutex_);
    std::uint8_t identify_interrupt() PEPITA_REQUIRES(mutex_);
    std::uint8_t modem_status() const PEPITA_REQUIRES(mutex_);
    void set_interrupt_enable(std::uint8_t value) PEPITA_REQUIRES(mutex_);
    bool buffer(std::byte value) PEPITA_REQUIRES(mutex_);
    void flush_soon();
    void flush();
    void update_interrupt() PEPITA_REQUIRES(mutex_);
    bool has_divisor_access() const PEPITA_REQUIRES(mutex_);

    EventLoop& loop_;
    const FdRef output_;
    const Fd buffered_;  // eventfd: the buffer is not empty
    EventLoop::Watch watch_;
    EventLoop::Timer flush_timer_;
    AdaptiveMutex mutex_;
    OnInterrupt on_interrupt_ PEPITA_GUARDED_BY(mutex_);
    std::array<std::byte, kBufferSize> buffer_ PEPITA_GUARDED_BY(mutex_){};
    std::size_t buffer_used_ PEPITA_GUARDED_BY(mutex_) = 0;
    std::uint16_t divisor_ PEPITA_GUARDED_BY(mutex_) = 12;
    std::uint8_t interrupt_enable_ PEPITA_GUARDED_BY(mutex_) = 0;
    std::uint8_t line_control_ PEPITA_GUARDED_BY(mutex_) = 0;
    std::uint8_t modem_control_ PEPITA_GUARDED_BY(mutex_) = 0;
    std::uint8_t scratch_ PEPITA_GUARDED_BY(mutex_) = 0;
    bool has_fifo_ PEPITA_GUARDED_BY(mutex_) = false;
    // "Transmitter is empty" has not been read from IIR.
    bool is_transmit_pending_ PEPITA_GUARDED_BY(mutex_) = false;
};

}  // namespace pepita::vmm
