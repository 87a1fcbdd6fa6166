#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/status.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/kick_registry.h"
#include "vmm/bus/msi_sink.h"
#include "vmm/bus/msix.h"
#include "vmm/bus/pci_config.h"
#include "vmm/bus/pci_function.h"
#include "vmm/bus/virtio_pci_common.h"

namespace pepita::vmm {

/// A virtio device as a PCI function (virtio 1.2 §4.1): modern only, MSI-X only.
///
/// One BAR holds all structures. At DRIVER_OK each queue that the driver enabled becomes a Ring
/// with a geometry of its own; no register reaches it any more.
///
/// Registers are guarded by a lock of their own, which is not held while the device is called: it
/// belongs to the device loop, and calls back by its notifier.
///
/// Thread: as PciFunction says; the device loop's for construction and destruction.
class PciTransport final : public PciFunction {
public:
    static constexpr std::size_t kQueuesMax = 64;

    /// What the machine lends a transport. All of it outlives the transport.
    struct Surroundings {
        EventLoop& loop;
        const virtio::GuestMemory& memory;
        MsiSink& messages;
        KickRegistry& kicks;
    };

    /// `device` is borrowed and has at most kQueuesMax queues. One vector more than queues is
    /// given. Errors: eventfd(2)'s and epoll_ctl(2)'s.
    static Result<std::unique_ptr<PciTransport>> create(virtio::Device& device,
                                                        const Surroundings& surroundings);

    /// Resets the device, so that it lets go of guest memory.
    ~PciTransport() override;
    PciTransport(const PciTransport&) = delete;
    PciTransport& operator=(const PciTransport&) = delete;
    PciTransport(PciTransport&&) = delete;
    PciTransport& operator=(PciTransport&&) = delete;

    /// Whether a driver holds the device: from DRIVER_OK to its reset. Thread: the device loop's.
    bool is_in_use() const { return is_started_; }

    void read_config(std::uint64_t offset, std::span<std::byte> into) override;
    void write_config(std::uint64_t offset, std::span<const std::byte> from) override;
    PciBar bar() override;
    void set_bar_address(std::uint64_t address) override;
    void read_bar(std::uint64_t offset, std::span<std::byte> into) override;
    Written write_bar(std::uint64_t offset, std::span<const std::byte> from) override;
    void write_bar_on_loop(std::uint64_t offset, std::span<const std::byte> from) override;
    void bar_mapped(virtio::GuestAddress start) override;
    void bar_unmapped() override;

private:
    struct Queue {
        Fd kicked;  // eventfd
        EventLoop::Watch watch;
        std::optional<virtio::GuestAddress>
            kick_address;  // while the kernel signals `kicked` for it
    };
    // What the driver reads and writes of the BAR by configuration space (§4.1.4.9).
    struct Window {
        std::uint64_t offset;
        std::size_t length;
    };
    class Signals final : public virtio::Notifier {
    public:
        explicit Signals(PciTransport& transport) : transport_(transport) {}
        void queue_used(std::uint16_t queue) override;
        void config_changed() override;
        void queue_broken(std::uint16_t queue) override;

    private:
        PciTransport& transport_;
    };

    PciTransport(virtio::Device& device, const Surroundings& surroundings);
    Result<void> create_queues();
    void add_capabilities() PEPITA_REQUIRES(mutex_);
    void add_capability(std::uint8_t type, std::uint32_t offset, std::uint32_t length)
        PEPITA_REQUIRES(mutex_);

    void read_registers(std::uint64_t offset, std::span<std::byte> into) PEPITA_REQUIRES(mutex_);
    void write_device(std::uint64_t offset, std::span<const std::byte> from);
    bool copy_device_config() PEPITA_REQUIRES(mutex_);
    void read_window(std::uint64_t offset, std::span<std::byte> into) PEPITA_REQUIRES(mutex_);
    void write_window();
    std::optional<Window> window() const PEPITA_REQUIRES(mutex_);

    void act(virtio::Status::Step step);
    void start();
    void reset();
    void kick(std::size_t queue);
    void interrupt(std::uint16_t vector, std::uint8_t isr) PEPITA_REQUIRES(mutex_);
    void interrupt_for(std::uint16_t queue) PEPITA_REQUIRES(mutex_);
    void announce_config() PEPITA_REQUIRES(mutex_);
    void needs_reset() PEPITA_REQUIRES(mutex_);

    virtio::Device& device_;
    Surroundings around_;
    Signals signals_{*this};
    std::vector<Queue> queues_;
    bool is_started_ = false;    // the device holds a session
    std::uint16_t msix_at_ = 0;  // the capabilities with registers, in configuration space
    std::uint16_t window_at_ = 0;

    AdaptiveMutex mutex_;
    PciCommon common_ PEPITA_GUARDED_BY(mutex_);
    Msix msix_ PEPITA_GUARDED_BY(mutex_);
    PciConfig config_ PEPITA_GUARDED_BY(mutex_);
    // What Device::config() was when the driver was last told.
    std::vector<std::byte> device_config_ PEPITA_GUARDED_BY(mutex_);
    std::uint8_t isr_ PEPITA_GUARDED_BY(mutex_) = 0;
};

}  // namespace pepita::vmm
