#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/kick_registry.h"
#include "vmm/bus/msi_sink.h"

/// The guest's side of a virtio-pci function, for tests: everything through addresses, as a vCPU
/// would, with nothing known that the function does not say of itself.
namespace pepita::test {

/// The messages that were sent, in order.
class Messages final : public vmm::MsiSink {
public:
    void send(std::uint64_t address, std::uint32_t data) override {
        sent.emplace_back(address, data);
    }
    /// How often `data` was sent since the last call.
    std::size_t take(std::uint32_t data);

    std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
};

/// A kernel that signals eventfds for writes, where the test lets it.
class Kicks final : public vmm::KickRegistry {
public:
    Result<void> add(virtio::GuestAddress at, FdRef eventfd) override;
    void remove(virtio::GuestAddress at, FdRef eventfd) override;

    bool refuses = false;
    std::map<virtio::GuestAddress, int> fds;
};

/// Where a structure lies, as its capability says.
struct Structure {
    std::uint8_t bar = 0;
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
    std::uint16_t capability = 0;  // the capability's own place in configuration space
};

class PciDriver {
public:
    /// The function in `slot`; `ecam` is where configuration space was added to `mmio`, which is
    /// borrowed, as is `kicks`. Reads the capabilities and enables memory space.
    PciDriver(vmm::AddressMap& mmio, const Kicks& kicks, std::uint64_t ecam, std::uint8_t slot);

    std::uint64_t config(std::uint64_t offset, std::size_t size) const;
    void set_config(std::uint64_t offset, std::uint64_t value, std::size_t size) const;
    std::uint64_t bar() const;

    /// A structure by the type of its capability (kVirtioPciCapability...); null where it is
    /// missing.
    const Structure* structure(std::uint8_t type) const;
    std::uint16_t msix_capability() const { return msix_; }

    /// Registers of the structures.
    std::uint64_t common(std::size_t offset, std::size_t size) const;
    void set_common(std::size_t offset, std::uint64_t value, std::size_t size) const;
    std::uint8_t isr() const;
    std::uint64_t device(std::size_t offset, std::size_t size) const;
    void set_device(std::size_t offset, std::uint64_t value, std::size_t size) const;

    std::uint8_t status() const;
    void set_status(std::uint8_t status) const;
    std::uint64_t offered() const;
    void accept(std::uint64_t features) const;

    /// ACKNOWLEDGE, DRIVER, features, FEATURES_OK. False where the device refuses.
    bool negotiate(std::uint64_t features) const;
    /// All of a queue's registers, queue_enable last.
    void enable_queue(std::uint16_t queue, const virtio::RingGeometry& geometry,
                      std::uint16_t vector) const;
    void set_driver_ok() const;

    /// Enables MSI-X and points vector N to the message 0x100 + N.
    void enable_msix(std::uint16_t vectors) const;

    /// Writes the queue's notification register: by the kernel's eventfd, or through the bus.
    void notify(std::uint16_t queue) const;

    std::uint64_t read(std::uint64_t at, std::size_t size) const;
    void write(std::uint64_t at, std::uint64_t value, std::size_t size) const;

private:
    std::uint64_t address_of(std::uint8_t type, std::size_t offset) const;

    vmm::AddressMap& mmio_;
    const Kicks& kicks_;
    std::uint64_t function_;
    std::map<std::uint8_t, Structure> structures_;
    std::uint32_t notify_multiplier_ = 0;
    std::uint16_t msix_ = 0;
};

}  // namespace pepita::test
