#include "vmm/bus/pci_host.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_config.h"
#include "vmm/bus/pci_function.h"

namespace pepita::vmm {

namespace {

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

PciHost::PciHost(AddressMap& mmio, const Windows& windows)
    : mmio_(mmio), windows_(windows), next_bar_(windows.memory64.start) {
    slots_.push_back(std::make_unique<Slot>(std::make_unique<HostBridge>()));
    const AdaptiveLock lock(mutex_);
    functions_[0] = slots_[0]->function.get();
}

PciHost::~PciHost() {
    for (const std::unique_ptr<Slot>& slot : slots_) {
        unmap(*slot);
    }
}

Result<PciSlot> PciHost::add(std::unique_ptr<PciFunction> function) {
    if (slots_.size() == kSlots) {
        return Error(Code::ResourceExhausted, "no PCI slot is free");
    }
    if (const std::uint64_t size = function->bar().size.value(); size != 0) {
        const std::uint64_t start = (next_bar_ + size - 1) & ~(size - 1);
        if (!windows_.memory64.contains(start, size)) {
            return Error(Code::ResourceExhausted, "the 64-bit PCI window is full");
        }
        function->set_bar_address(start);
        next_bar_ = start + size;
    }
    slots_.push_back(std::make_unique<Slot>(std::move(function)));
    const AdaptiveLock lock(mutex_);
    functions_[slots_.size() - 1] = slots_.back()->function.get();
    return PciSlot{static_cast<std::uint8_t>(slots_.size() - 1)};
}

// `at` as ECAM has it: device in bits 15 to 19, function in 12 to 14, register below.
PciFunction* PciHost::function_at(std::uint64_t at) const {
    const std::uint64_t device = at >> 15U;
    const std::uint64_t number = (at >> 12U) & 7U;
    return number == 0 && device < functions_.size() ? functions_[device] : nullptr;
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
        if (slot->mapped != wanted(*slot)) {
            unmap(*slot);
        }
    }
    for (const std::unique_ptr<Slot>& slot : slots_) {
        const std::optional<std::uint64_t> start = wanted(*slot);
        if (!slot->mapped && start &&
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
