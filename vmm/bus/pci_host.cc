#include "vmm/bus/pci_host.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/pci.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_config.h"
#include "vmm/bus/pci_function.h"

namespace pepita::vmm {

namespace pci = abi::pci;

namespace {

// The generic host bridge that Linux has no quirk for.
constexpr PciConfig::Identity kHostBridge{
    .vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

class HostBridge final : public PciFunction {
public:
    PciConfig& config() override { return config_; }

private:
    PciConfig config_{kHostBridge};
};

}  // namespace

PciHost::PciHost(AddressMap& mmio, const Windows& windows)
    : mmio_(mmio), windows_(windows), next_bar_(windows.memory64.start) {
    slots_.push_back(std::make_unique<Slot>(std::make_unique<HostBridge>()));
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
    PciConfig& config = function->config();
    if (const std::uint64_t size = config.bar_size().value(); size != 0) {
        const std::uint64_t start = (next_bar_ + size - 1) & ~(size - 1);
        if (!windows_.memory64.contains(start, size)) {
            return Error(Code::ResourceExhausted, "the 64-bit PCI window is full");
        }
        config.set_bar_address(start);
        next_bar_ = start + size;
    }
    slots_.push_back(std::make_unique<Slot>(std::move(function)));
    return PciSlot{static_cast<std::uint8_t>(slots_.size() - 1)};
}

void PciHost::read_config(std::uint64_t at, std::span<std::byte> into) {
    if (PciFunction* function = function_at(at)) {
        function->read_config(at % 4096, into);
    }
}

void PciHost::write_config(std::uint64_t at, std::span<const std::byte> from) {
    if (PciFunction* function = function_at(at)) {
        function->write_config(at % 4096, from);
        remap();
    }
}

PciFunction* PciHost::function_at(std::uint64_t at) {
    const std::uint64_t device = at >> 15U;
    const std::uint64_t number = (at >> 12U) & 7U;
    if (number != 0 || device >= slots_.size()) {
        return nullptr;
    }
    return slots_[device]->function.get();
}

std::optional<std::uint64_t> PciHost::wanted(const Slot& slot) const {
    const PciConfig& config = slot.function->config();
    const std::uint64_t size = config.bar_size().value();
    const std::uint64_t start = config.bar_address();
    if (size == 0 || !config.memory_enabled() ||
        (!windows_.memory32.contains(start, size) && !windows_.memory64.contains(start, size))) {
        return std::nullopt;
    }
    return start;
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
            mmio_.add(*start, slot->function->config().bar_size().value(), *slot).has_value()) {
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

void PciHost::Slot::write(std::uint64_t offset, std::span<const std::byte> from) {
    function->write_bar(offset, from);
}

void PciHost::Ecam::read(std::uint64_t offset, std::span<std::byte> into) {
    host_.read_config(offset, into);
}

void PciHost::Ecam::write(std::uint64_t offset, std::span<const std::byte> from) {
    host_.write_config(offset, from);
}

// The address register is one of 4 bytes alone: a byte written to 0xcf9 or 0xcfb is meant for other
// hardware, and Linux writes one to see whether we know.
void PciHost::Ports::read(std::uint64_t offset, std::span<std::byte> into) {
    if (offset == 0 && into.size() == 4) {
        store(into, address_);
    } else if (const auto at = target(offset, into.size())) {
        host_.read_config(*at, into);
    }
}

void PciHost::Ports::write(std::uint64_t offset, std::span<const std::byte> from) {
    if (offset == 0 && from.size() == 4) {
        address_ = static_cast<std::uint32_t>(load(from));
    } else if (const auto at = target(offset, from.size())) {
        host_.write_config(*at, from);
    }
}

std::optional<std::uint64_t> PciHost::Ports::target(std::uint64_t offset, std::size_t size) const {
    // Bits 24 to 30 are reserved and 16 to 23 the bus: neither may be anything but 0.
    const bool is_ours = (address_ & 0xffff'0000U) == pci::kConfigAddressEnable;
    if (offset < 4 || size > 4 || !is_natural(offset, size) || !is_ours) {
        return std::nullopt;
    }
    const std::uint64_t device_and_function = (address_ >> 8U) & 0xffU;
    return (device_and_function << 12U) | (address_ & 0xfcU) | (offset & 3U);
}

}  // namespace pepita::vmm
