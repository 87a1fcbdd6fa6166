// A guest at the legacy devices: UART, I/O APIC, the ports that end it. Beside them run models of
// what may come out.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/ioapic.h"
#include "vmm/bus/msi_sink.h"
#include "vmm/legacy/reset.h"
#include "vmm/legacy/serial.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {
namespace {

/// A message is one of a pin that is not masked, and has its vector.
class CheckedSink final : public MsiSink {
public:
    void send(std::uint64_t address, std::uint32_t data) override {
        CHECK((address & ~std::uint64_t{0xf'f004}) == layout::kMsiAddressStart);
        CHECK(data <= 0x7ffU);
        CHECK(may_send);
        ++sent;
    }
    bool may_send = false;
    int sent = 0;
};

class Guest {
public:
    Guest() {
        CHECK(ports_.add(layout::kSerialPort, layout::kSerialPorts, *serial_).has_value());
        CHECK(mmio_.add(layout::kIoapicStart, layout::kIoapicSize, ioapic_).has_value());
        CHECK(ends_.attach(ports_).has_value());
    }

    void perform(std::uint8_t what, std::uint8_t where, std::uint8_t value) {
        const bool is_read = (what & 0x80U) != 0;
        switch (what % 8) {
            case 0:
            case 1:
                use_serial(where % layout::kSerialPorts, value, is_read);
                break;
            case 2:
                use_ioapic(where, value, is_read);
                break;
            case 3:
                use_register(0x10 + where % 52, value, is_read);
                break;
            case 4:
                use_end_port(where, value, is_read);
                break;
            case 5:
                sink_.may_send = true;
                ioapic_.set_pin(where % layout::kIoapicPins,
                                value % 2 != 0 ? Ioapic::Level::High : Ioapic::Level::Low);
                break;
            case 6:
                turn();
                break;
            default:
                access(mmio_, layout::kIoapicStart + where * 16U + value % 16U, value, is_read);
                break;
        }
        sink_.may_send = false;
    }

    /// All that was sent is on the console, in its order.
    void finish() {
        sink_.may_send = true;
        serial_.reset();
        std::string output(expected_.size() + 1, '\0');
        const ssize_t size = ::pread(console_.ref().number(), output.data(), output.size(), 0);
        CHECK(size == static_cast<ssize_t>(expected_.size()));
        output.resize(expected_.size());
        CHECK(output == expected_);
    }

private:
    /// Any size, any alignment. The loop's part of a write may send; what a vCPU does may not.
    void access(const AddressMap& map, std::uint64_t at, std::uint64_t value, bool is_read) {
        std::array<std::byte, 8> bytes{};
        const std::span<std::byte> part = std::span(bytes).first(std::size_t{1} << (value % 4));
        if (is_read) {
            map.read(at, part);
            return;
        }
        store(bytes, value);
        if (map.write(at, part) == Written::NeedsLoop) {
            sink_.may_send = true;
            map.write_on_loop(at, part);
        }
    }

    void use_serial(std::uint8_t offset, std::uint8_t value, bool is_read) {
        std::array<std::byte, 1> byte{std::byte{value}};
        const std::uint64_t at = layout::kSerialPort + offset;
        if (is_read) {
            ports_.read(at, byte);
            return;
        }
        if (offset == 0 && (line_control_ & 0x80U) == 0 && (modem_control_ & 0x10U) == 0) {
            expected_.push_back(static_cast<char>(value));
        }
        line_control_ = offset == 3 ? value : line_control_;
        modem_control_ = offset == 4 ? value : modem_control_;
        if (ports_.write(at, byte) == Written::NeedsLoop) {
            sink_.may_send = true;
            ports_.write_on_loop(at, byte);
        }
    }

    void use_register(std::uint32_t index, std::uint8_t value, bool is_read) {
        std::array<std::byte, 4> bytes{};
        store(bytes, index);
        CHECK(mmio_.write(layout::kIoapicStart, bytes) == Written::Done);
        store(bytes, value * 0x0101'0101U);
        use_ioapic_window(bytes, is_read);
    }
    void use_ioapic(std::uint8_t where, std::uint8_t value, bool is_read) {
        std::array<std::byte, 4> bytes{};
        store(bytes, where | std::uint32_t{value} << 8U);
        use_ioapic_window(bytes, is_read);
    }
    void use_ioapic_window(std::span<std::byte> bytes, bool is_read) {
        constexpr std::uint64_t kWindow = layout::kIoapicStart + 0x10;
        if (is_read) {
            mmio_.read(kWindow, bytes);
            return;
        }
        CHECK(mmio_.write(kWindow, bytes) == Written::NeedsLoop);
        sink_.may_send = true;
        const int before = sink_.sent;
        mmio_.write_on_loop(kWindow, bytes);
        CHECK(sink_.sent - before <= 1);
    }

    void use_end_port(std::uint8_t where, std::uint8_t value, bool is_read) {
        constexpr std::array kPorts{layout::kKeyboardPort, layout::kPanicPort,
                                    layout::kSleepControlPort, layout::kSleepStatusPort,
                                    layout::kResetPort};
        const std::uint16_t port = kPorts.at(where % kPorts.size());
        std::array<std::byte, 1> byte{std::byte{value}};
        if (is_read) {
            ports_.read(port, byte);
            CHECK(byte[0] ==
                  std::byte{port == layout::kPanicPort ? std::uint8_t{1} : std::uint8_t{0}});
            return;
        }
        const bool ends = (port == layout::kKeyboardPort && value == 0xfe) ||
                          (port == layout::kPanicPort && value % 2 != 0) ||
                          (port == layout::kSleepControlPort && (value & 0x3cU) == 0x34) ||
                          (port == layout::kResetPort && value == layout::kResetValue);
        const int before = ended_;
        ports_.write_on_loop(port, byte);
        CHECK(ended_ - before == (ends ? 1 : 0));
    }

    void turn() {
        sink_.may_send = true;
        CHECK(loop_->run_once(std::chrono::milliseconds(0)).has_value());
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Fd console_{::memfd_create("console", MFD_CLOEXEC)};
    CheckedSink sink_;
    Ioapic ioapic_{sink_};
    std::unique_ptr<Serial> serial_ = *Serial::create(
        *loop_, console_.ref(),
        [this](Ioapic::Level level) { ioapic_.set_pin(layout::kSerialPin, level); });
    int ended_ = 0;
    EndPorts ends_{[this](ExitReason) { ++ended_; }};
    AddressMap ports_;
    AddressMap mmio_;
    std::uint8_t line_control_ = 0;
    std::uint8_t modem_control_ = 0;
    std::string expected_;
};

}  // namespace
}  // namespace pepita::vmm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    pepita::vmm::Guest guest;
    for (; size >= 3; size -= 3, data += 3) {
        guest.perform(data[0], data[1], data[2]);
    }
    guest.finish();
    return 0;
}
