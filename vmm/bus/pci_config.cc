#include "vmm/bus/pci_config.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/pci.h"
#include "vmm/bus/access.h"

namespace pepita::vmm {

namespace pci = abi::pci;

PciConfig::PciConfig(const Identity& identity) {
    set(pci::kVendorId, 2, identity.vendor);
    set(pci::kDeviceId, 2, identity.device);
    set(pci::kRevision, 4, (identity.class_code << 8U) | identity.revision);
    set(pci::kSubsystemVendorId, 2, identity.subsystem_vendor);
    set(pci::kSubsystemId, 2, identity.subsystem);
    // A guest looks for functions 1 to 7 that are added later only where function 0 had this bit
    // when it was first seen (Linux drivers/pci/probe.c, next_fn).
    set(pci::kHeaderType, 1, pci::kHeaderMultifunction);
    allow(pci::kCommand, 2, pci::kCommandBusMaster | pci::kCommandInterruptDisable);
    allow(pci::kCacheLineSize, 1, 0xff);
    allow(pci::kInterruptLine, 1, 0xff);
}

void PciConfig::add_bar(Bytes size) {
    CHECK(bar_size_.value() == 0);
    CHECK(size >= kPageSize);
    CHECK(std::has_single_bit(size.value()));
    bar_size_ = size;
    const std::uint64_t mask = ~(size.value() - 1);
    set(pci::kBar0, 4, pci::kBarMemory64);
    allow(pci::kBar0, 4, static_cast<std::uint32_t>(mask));
    allow(pci::kBar1, 4, static_cast<std::uint32_t>(mask >> 32U));
    allow(pci::kCommand, 2, pci::kCommandMemory);
}

PciBar PciConfig::bar() const {
    const std::uint64_t high = get(pci::kBar1, 4);
    return {.size = bar_size_,
            .address = (high << 32U) | (get(pci::kBar0, 4) & ~pci::kBarFlags),
            .is_enabled = (get(pci::kCommand, 2) & pci::kCommandMemory) != 0};
}

void PciConfig::set_bar_address(std::uint64_t address) {
    CHECK(bar_size_.value() != 0);
    CHECK(address % bar_size_.value() == 0);
    set(pci::kBar0, 4, static_cast<std::uint32_t>(address) | pci::kBarMemory64);
    set(pci::kBar1, 4, static_cast<std::uint32_t>(address >> 32U));
}

std::uint16_t PciConfig::add_capability(std::uint8_t id, std::span<const std::byte> body,
                                        std::span<const std::byte> writable) {
    const std::uint16_t offset = next_capability_;
    CHECK(body.size() + 2 <= values_.size() - offset);
    const bool is_masked = !writable.empty();
    CHECK(writable.size() == (is_masked ? body.size() : 0));
    set(offset, 1, id);
    std::ranges::copy(body, values_.begin() + offset + 2);
    std::ranges::copy(writable, writable_.begin() + offset + 2);
    set(last_link_, 1, offset);
    set(pci::kStatus, 2, get(pci::kStatus, 2) | pci::kStatusCapabilities);
    last_link_ = static_cast<std::uint16_t>(offset + 1);
    next_capability_ = static_cast<std::uint16_t>((offset + 2 + body.size() + 3) & ~std::size_t{3});
    return offset;
}

void PciConfig::read(std::uint64_t offset, std::span<std::byte> into) const {
    if (!is_access(offset, into.size())) {
        std::ranges::fill(into, std::byte{0xff});
        return;
    }
    std::ranges::copy(std::span(values_).subspan(offset, into.size()), into.begin());
}

void PciConfig::write(std::uint64_t offset, std::span<const std::byte> from) {
    if (!is_access(offset, from.size())) {
        return;
    }
    for (const std::byte value : from) {
        const std::byte mask = writable_[offset];
        values_[offset] = (values_[offset] & ~mask) | (value & mask);
        ++offset;
    }
}

std::uint32_t PciConfig::get(std::uint16_t offset, std::size_t size) const {
    return static_cast<std::uint32_t>(load(std::span(values_).subspan(offset, size)));
}

void PciConfig::set(std::uint16_t offset, std::size_t size, std::uint32_t value) {
    store(std::span(values_).subspan(offset, size), value);
}

bool PciConfig::is_access(std::uint64_t offset, std::size_t size) {
    return size <= 4 && is_natural(offset, size) && offset < pci::kConfigSize;
}

void PciConfig::allow(std::uint16_t offset, std::size_t size, std::uint32_t mask) {
    const std::span<std::byte> bits = std::span(writable_).subspan(offset, size);
    store(bits, load(bits) | mask);
}

}  // namespace pepita::vmm
