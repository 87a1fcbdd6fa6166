#include "test/support/pci_driver.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/pci.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_pci.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"

namespace pepita::test {

namespace pci = abi::pci;
using Common = abi::VirtioPciCommonConfig;

std::size_t Messages::take(std::uint32_t data) {
    return std::erase_if(sent, [data](const auto& message) { return message.second == data; });
}

Result<void> Kicks::add(virtio::GuestAddress at, FdRef eventfd) {
    if (refuses || !fds.emplace(at, eventfd.number()).second) {
        return Error(Code::AlreadyExists, "kick address is taken");
    }
    return {};
}

void Kicks::remove(virtio::GuestAddress at, FdRef eventfd) {
    const auto found = fds.find(at);
    CHECK(found != fds.end());
    CHECK(found->second == eventfd.number());
    fds.erase(found);
}

PciDriver::PciDriver(vmm::AddressMap& mmio, const Kicks& kicks, std::uint64_t ecam,
                     std::uint8_t slot)
    : mmio_(mmio), kicks_(kicks), function_(ecam + (std::uint64_t{slot} << 15U)) {
    set_config(pci::kCommand, pci::kCommandMemory | pci::kCommandBusMaster, 2);
    auto at = static_cast<std::uint16_t>(config(pci::kCapabilities, 1));
    while (at != 0) {
        const std::uint64_t id = config(at, 1);
        if (id == pci::kCapabilityMsix) {
            msix_ = at;
        }
        if (id == pci::kCapabilityVendor) {
            const auto type = static_cast<std::uint8_t>(config(at + 3U, 1));
            structures_[type] = {.bar = static_cast<std::uint8_t>(config(at + 4U, 1)),
                                 .offset = static_cast<std::uint32_t>(config(at + 8U, 4)),
                                 .length = static_cast<std::uint32_t>(config(at + 12U, 4)),
                                 .capability = at};
        }
        at = static_cast<std::uint16_t>(config(at + 1U, 1));
    }
    if (const Structure* notify = structure(abi::kVirtioPciCapabilityNotify)) {
        notify_multiplier_ = static_cast<std::uint32_t>(config(notify->capability + 16U, 4));
    }
}

std::uint64_t PciDriver::read(std::uint64_t at, std::size_t size) const {
    std::array<std::byte, 8> bytes{};
    mmio_.read(at, std::span(bytes).first(size));
    return vmm::load(std::span(bytes).first(size));
}

void PciDriver::write(std::uint64_t at, std::uint64_t value, std::size_t size) const {
    std::array<std::byte, 8> bytes{};
    vmm::store(bytes, value);
    mmio_.write_on_loop(at, std::span(bytes).first(size));
}

std::uint64_t PciDriver::config(std::uint64_t offset, std::size_t size) const {
    return read(function_ + offset, size);
}

void PciDriver::set_config(std::uint64_t offset, std::uint64_t value, std::size_t size) const {
    write(function_ + offset, value, size);
}

std::uint64_t PciDriver::bar() const {
    return (config(pci::kBar1, 4) << 32U) | (config(pci::kBar0, 4) & ~pci::kBarFlags);
}

const Structure* PciDriver::structure(std::uint8_t type) const {
    const auto found = structures_.find(type);
    return found == structures_.end() ? nullptr : &found->second;
}

std::uint64_t PciDriver::address_of(std::uint8_t type, std::size_t offset) const {
    const Structure* found = structure(type);
    CHECK(found != nullptr);
    CHECK(found->bar == 0);
    return bar() + found->offset + offset;
}

std::uint64_t PciDriver::common(std::size_t offset, std::size_t size) const {
    return read(address_of(abi::kVirtioPciCapabilityCommon, offset), size);
}

void PciDriver::set_common(std::size_t offset, std::uint64_t value, std::size_t size) const {
    write(address_of(abi::kVirtioPciCapabilityCommon, offset), value, size);
}

std::uint8_t PciDriver::isr() const {
    return static_cast<std::uint8_t>(read(address_of(abi::kVirtioPciCapabilityIsr, 0), 1));
}

std::uint64_t PciDriver::device(std::size_t offset, std::size_t size) const {
    return read(address_of(abi::kVirtioPciCapabilityDevice, offset), size);
}

void PciDriver::set_device(std::size_t offset, std::uint64_t value, std::size_t size) const {
    write(address_of(abi::kVirtioPciCapabilityDevice, offset), value, size);
}

std::uint8_t PciDriver::status() const {
    return static_cast<std::uint8_t>(common(offsetof(Common, device_status), 1));
}

void PciDriver::set_status(std::uint8_t status) const {
    set_common(offsetof(Common, device_status), status, 1);
}

std::uint64_t PciDriver::offered() const {
    set_common(offsetof(Common, device_feature_select), 0, 4);
    const std::uint64_t low = common(offsetof(Common, device_feature), 4);
    set_common(offsetof(Common, device_feature_select), 1, 4);
    return low | (common(offsetof(Common, device_feature), 4) << 32U);
}

void PciDriver::accept(std::uint64_t features) const {
    set_common(offsetof(Common, driver_feature_select), 0, 4);
    set_common(offsetof(Common, driver_feature), features & 0xffff'ffff, 4);
    set_common(offsetof(Common, driver_feature_select), 1, 4);
    set_common(offsetof(Common, driver_feature), features >> 32U, 4);
}

bool PciDriver::negotiate(std::uint64_t features) const {
    set_status(abi::kVirtioStatusAcknowledge);
    set_status(abi::kVirtioStatusAcknowledge | abi::kVirtioStatusDriver);
    accept(features);
    set_status(status() | abi::kVirtioStatusFeaturesOk);
    return (status() & abi::kVirtioStatusFeaturesOk) != 0;
}

void PciDriver::enable_queue(std::uint16_t queue, const virtio::RingGeometry& geometry,
                             std::uint16_t vector) const {
    const auto set_address = [this](std::size_t offset, virtio::GuestAddress address) {
        set_common(offset, std::to_underlying(address) & 0xffff'ffff, 4);
        set_common(offset + 4, std::to_underlying(address) >> 32U, 4);
    };
    set_common(offsetof(Common, queue_select), queue, 2);
    set_common(offsetof(Common, queue_size), geometry.size, 2);
    set_common(offsetof(Common, queue_msix_vector), vector, 2);
    set_address(offsetof(Common, queue_desc_low), geometry.descriptors);
    set_address(offsetof(Common, queue_driver_low), geometry.available);
    set_address(offsetof(Common, queue_device_low), geometry.used);
    set_common(offsetof(Common, queue_enable), 1, 2);
}

void PciDriver::set_driver_ok() const { set_status(status() | abi::kVirtioStatusDriverOk); }

void PciDriver::enable_msix(std::uint16_t vectors) const {
    const std::uint64_t table = bar() + (config(msix_ + 4U, 4) & ~std::uint64_t{7});
    for (std::uint64_t vector = 0; vector < vectors; ++vector) {
        write(table + vector * sizeof(pci::MsixEntry), 0xfee0'0000, 8);
        write(table + vector * sizeof(pci::MsixEntry) + 8, 0x100 + vector, 8);
    }
    set_config(msix_ + 2U, pci::kMsixEnable, 2);
}

void PciDriver::notify(std::uint16_t queue) const {
    set_common(offsetof(Common, queue_select), queue, 2);
    const std::uint64_t off = common(offsetof(Common, queue_notify_off), 2);
    const std::uint64_t at = address_of(abi::kVirtioPciCapabilityNotify, off * notify_multiplier_);
    if (const auto found = kicks_.fds.find(virtio::GuestAddress{at}); found != kicks_.fds.end()) {
        signal_eventfd(FdRef(found->second));
    } else {
        write(at, queue, 2);
    }
}

}  // namespace pepita::test
