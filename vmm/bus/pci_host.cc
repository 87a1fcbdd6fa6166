#include "vmm/bus/pci_host.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_config.h"
#include "vmm/bus/pci_function.h"

namespace pepita::vmm {

namespace {

constexpr std::size_t kFunctionsPerDevice = 8;

// The generic host bridge that Linux has no quirk for.
constexpr PciConfig::Identity kHostBridge{
    .vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

class HostBridge final : public PciFunction {
public:
    void read_config(std::uint64_t offset, std::span<std::byte> into) override {
        const AdaptiveLock lock(mutex_);
        config_.read(offset, into);
    }
    void write_config(std::uint64_t offset, std::span<const std::byte> from) override {
        const AdaptiveLock lock(mutex_);
        config_.write(offset, from);
    }
    PciBar bar() override { return {}; }
    void set_bar_address(std::uint64_t /*address*/) override {}

private:
    AdaptiveMutex mutex_;
    PciConfig config_ PEPITA_GUARDED_BY(mutex_){kHostBridge};
};

}  // namespace

std::string to_string(PciAddress address) {
    const unsigned device = std::to_underlying(address) / kFunctionsPerDevice;
    const unsigned function = std::to_underlying(address) % kFunctionsPerDevice;
    constexpr std::string_view digits = "0123456789abcdef";
    return std::string("0000:00:") + digits[device / 16] + digits[device % 16] + "." +
           digits[function];
}

PciHost::PciHost(AddressMap& mmio, const Windows& windows) : mmio_(mmio), windows_(windows) {
    CHECK(windows.memory64.size >= kFunctionsMax * kBarMax.value());
    slots_[0] = std::make_unique<Slot>(std::make_unique<HostBridge>());
    const AdaptiveLock lock(mutex_);
    functions_[0] = slots_[0]->function.get();
}

PciHost::~PciHost() {
    for (const std::unique_ptr<Slot>& slot : slots_) {
        if (slot) {
            unmap(*slot);
        }
    }
}

std::optional<std::size_t> PciHost::free_place() const {
    for (std::size_t place = 0; place < kFunctionsMax; place += kFunctionsPerDevice) {
        if (!slots_.at(place)) {
            return place;
        }
    }
    const auto free = std::ranges::find_if(slots_, [](const auto& slot) { return !slot; });
    return free == slots_.end() ? std::nullopt
                                : std::optional(static_cast<std::size_t>(free - slots_.begin()));
}

Result<PciAddress> PciHost::add(std::unique_ptr<PciFunction> function) {
    const std::optional<std::size_t> place = free_place();
    if (!place) {
        return Error(Code::ResourceExhausted, "the PCI bus is full");
    }
    const Bytes size = function->bar().size;
    CHECK(size <= kBarMax);
    if (size.value() != 0) {
        function->set_bar_address(windows_.memory64.start + *place * kBarMax.value());
    }
    slots_.at(*place) = std::make_unique<Slot>(std::move(function));
    const AdaptiveLock lock(mutex_);
    functions_.at(*place) = slots_.at(*place)->function.get();
    return PciAddress{static_cast<std::uint8_t>(*place)};
}

Result<void> PciHost::remove(PciAddress address) {
    const std::size_t place = std::to_underlying(address);
    CHECK(slots_.at(place) != nullptr);
    if (place % kFunctionsPerDevice == 0) {
        const auto others = std::span(slots_).subspan(place + 1, kFunctionsPerDevice - 1);
        if (std::ranges::any_of(others, [](const auto& slot) { return slot != nullptr; })) {
            return Error(Code::FailedPrecondition,
                         to_string(address) + " has other functions beside it");
        }
    }
    {
        const AdaptiveLock lock(mutex_);
        functions_.at(place) = nullptr;
    }
    unmap(*slots_.at(place));
    slots_.at(place) = nullptr;
    remap();  // another may have waited for its addresses
    return {};
}

// `at` as ECAM has it: device and function in bits 12 to 19, register below.
PciFunction* PciHost::function_at(std::uint64_t at) const {
    const std::uint64_t place = at >> 12U;
    return place < functions_.size() ? functions_.at(place) : nullptr;
}

std::optional<std::uint64_t> PciHost::wanted(const Slot& slot) const {
    const PciBar bar = slot.function->bar();
    const std::uint64_t size = bar.size.value();
    if (size == 0 || !bar.is_enabled ||
        (!windows_.memory32.contains(bar.address, size) &&
         !windows_.memory64.contains(bar.address, size))) {
        return std::nullopt;
    }
    return bar.address;
}

// All slots, not the written one alone: what leaves its place may let another come in.
void PciHost::remap() {
    for (const std::unique_ptr<Slot>& slot : slots_) {
        if (slot && slot->mapped != wanted(*slot)) {
            unmap(*slot);
        }
    }
    for (const std::unique_ptr<Slot>& slot : slots_) {
        const std::optional<std::uint64_t> start = slot ? wanted(*slot) : std::nullopt;
        if (start && !slot->mapped &&
            mmio_.add(*start, slot->function->bar().size.value(), *slot).has_value()) {
            slot->mapped = start;
            slot->function->bar_mapped(virtio::GuestAddress{*start});
        }
    }
}

void PciHost::unmap(Slot& slot) {
    if (const auto start = std::exchange(slot.mapped, std::nullopt)) {
        slot.function->bar_unmapped();
        mmio_.remove(*start);
    }
}

void PciHost::Slot::read(std::uint64_t offset, std::span<std::byte> into) {
    function->read_bar(offset, into);
}

Written PciHost::Slot::write(std::uint64_t offset, std::span<const std::byte> from) {
    return function->write_bar(offset, from);
}

void PciHost::Slot::write_on_loop(std::uint64_t offset, std::span<const std::byte> from) {
    function->write_bar_on_loop(offset, from);
}

void PciHost::Ecam::read(std::uint64_t offset, std::span<std::byte> into) {
    const AdaptiveLock lock(host_.mutex_);
    if (PciFunction* function = host_.function_at(offset)) {
        function->read_config(offset % 4096, into);
    }
}

// Nearly every register that can be written moves a BAR or an interrupt.
Written PciHost::Ecam::write(std::uint64_t offset, std::span<const std::byte> /*from*/) {
    const AdaptiveLock lock(host_.mutex_);
    return host_.function_at(offset) == nullptr ? Written::Done : Written::NeedsLoop;
}

void PciHost::Ecam::write_on_loop(std::uint64_t offset, std::span<const std::byte> from) {
    PciFunction* function = nullptr;
    {
        const AdaptiveLock lock(host_.mutex_);
        function = host_.function_at(offset);
    }
    if (function != nullptr) {
        function->write_config(offset % 4096, from);
        host_.remap();
    }
}

}  // namespace pepita::vmm
