#include "vmm/bus/ioapic.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/check.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/msi_sink.h"

namespace pepita::vmm {
namespace {

// Where the guest selects a register, and where it reads and writes it.
constexpr std::uint64_t kSelect = 0x00;
constexpr std::uint64_t kWindow = 0x10;

constexpr std::uint32_t kIdRegister = 0;
constexpr std::uint32_t kVersionRegister = 1;
constexpr std::uint32_t kFirstRedirection = 0x10;  // two registers a pin
constexpr std::uint32_t kVersion = 0x11;

constexpr std::uint64_t kMasked = 1U << 16U;
constexpr std::uint64_t kReadOnly = (1U << 12U) | (1U << 14U);  // delivery status, remote IRR

}  // namespace

Ioapic::Ioapic(MsiSink& sink) : sink_(sink) {
    std::ranges::fill(pins_, Pin{.redirection = kMasked});
}

void Ioapic::read(std::uint64_t offset, std::span<std::byte> into) {
    const AdaptiveLock lock(mutex_);
    if (offset == kSelect) {
        store(into, selected_);
    } else if (offset == kWindow) {
        store(into, read_register(selected_));
    } else {
        store(into, 0);
    }
}

// A register may send what is pending; which one is next may not.
Written Ioapic::write(std::uint64_t offset, std::span<const std::byte> from) {
    if (offset == kWindow) {
        return Written::NeedsLoop;
    }
    if (offset == kSelect) {
        const AdaptiveLock lock(mutex_);
        selected_ = static_cast<std::uint32_t>(load(from)) & 0xffU;
    }
    return Written::Done;
}

void Ioapic::write_on_loop(std::uint64_t /*offset*/, std::span<const std::byte> from) {
    const AdaptiveLock lock(mutex_);
    write_register(selected_, static_cast<std::uint32_t>(load(from)));
}

void Ioapic::set_pin(std::uint32_t pin, Level level) {
    const AdaptiveLock lock(mutex_);
    CHECK(pin < pins_.size());
    const Level before = std::exchange(pins_.at(pin).level, level);
    if (before == Level::Low && level == Level::High) {
        pins_.at(pin).is_pending = true;
        deliver(pin);
    }
}

std::uint32_t Ioapic::read_register(std::uint32_t index) const {
    if (index == kIdRegister) {
        return id_;
    }
    if (index == kVersionRegister) {
        return kVersion | ((layout::kIoapicPins - 1) << 16U);
    }
    const std::uint32_t pin = (index - kFirstRedirection) / 2;
    if (index < kFirstRedirection || pin >= pins_.size()) {
        return 0;
    }
    return static_cast<std::uint32_t>(pins_.at(pin).redirection >> (index % 2 != 0 ? 32U : 0U));
}

void Ioapic::write_register(std::uint32_t index, std::uint32_t value) {
    if (index == kIdRegister) {
        id_ = value & 0x0f00'0000U;
        return;
    }
    const std::uint32_t pin = (index - kFirstRedirection) / 2;
    if (index < kFirstRedirection || pin >= pins_.size()) {
        return;
    }
    std::uint64_t& redirection = pins_.at(pin).redirection;
    if (index % 2 != 0) {
        redirection = (redirection & 0xffff'ffffU) | (std::uint64_t{value} << 32U);
    } else {
        redirection = (redirection & ~std::uint64_t{0xffff'ffff}) | (value & ~kReadOnly);
        deliver(pin);
    }
}

void Ioapic::deliver(std::uint32_t pin) {
    const std::uint64_t redirection = pins_.at(pin).redirection;
    if (!pins_.at(pin).is_pending || (redirection & kMasked) != 0) {
        return;
    }
    pins_.at(pin).is_pending = false;
    // The same fields in other places: Intel SDM 3A §11.11.
    const std::uint64_t logical = (redirection >> 11U) & 1U;
    const std::uint64_t address =
        layout::kMsiAddressStart | ((redirection >> 56U) << 12U) | (logical << 2U);
    const auto data = static_cast<std::uint32_t>(redirection & 0x7ffU);  // vector, delivery mode
    sink_.send(address, data);
}

}  // namespace pepita::vmm
