#include "vmm/legacy/reset.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/result.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {
namespace {

constexpr std::uint8_t kKeyboardResetCommand = 0xfe;
constexpr std::uint8_t kSleepEnable = 1U << 5U;
constexpr std::uint8_t kPanicked = 1;  // the only event of the panic device that we offer

/// How the guest ends by this write, if it does.
std::optional<ExitReason> end_of(std::uint16_t port, std::span<const std::byte> from) {
    const auto value = static_cast<std::uint8_t>(load(from));
    const bool is_sleep =
        (value & kSleepEnable) != 0 && ((value >> 2U) & 7U) == layout::kSleepTypeOff;
    if (port == layout::kSleepControlPort && is_sleep) {
        return ExitReason::PowerOff;
    }
    if ((port == layout::kResetPort && value == layout::kResetValue) ||
        (port == layout::kKeyboardPort && value == kKeyboardResetCommand)) {
        return ExitReason::Reset;
    }
    if (port == layout::kPanicPort && (value & kPanicked) != 0) {
        return ExitReason::GuestPanic;
    }
    return std::nullopt;
}

}  // namespace

Result<void> EndPorts::attach(AddressMap& ports) {
    for (Port* port : std::array{&keyboard_, &panic_, &sleep_control_, &sleep_status_, &reset_}) {
        TRY(ports.add(port->number(), 1, *port));
    }
    return {};
}

void EndPorts::Port::read(std::uint64_t, std::span<std::byte> into) {
    store(into, number_ == layout::kPanicPort ? kPanicked : 0);
}

Written EndPorts::Port::write(std::uint64_t, std::span<const std::byte> from) {
    return end_of(number_, from) ? Written::NeedsLoop : Written::Done;
}

void EndPorts::Port::write_on_loop(std::uint64_t, std::span<const std::byte> from) {
    const auto end = end_of(number_, from);
    CHECK(end.has_value());  // or write() had done all
    owner_.on_end_(*end);
}

}  // namespace pepita::vmm
