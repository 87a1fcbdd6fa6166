#include "vmm/bus/virtio_pci.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/pci.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_pci.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "kernel-abi/virtio/status.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_config.h"
#include "vmm/bus/virtio_pci_common.h"

namespace pepita::vmm {

namespace pci = pepita::abi::pci;

namespace {

// The BAR: a page for each structure, so that a later machine can map some of them apart.
constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint32_t kCommon = 0x0000;
constexpr std::uint32_t kIsr = 0x1000;
constexpr std::uint32_t kDevice = 0x2000;
constexpr std::uint32_t kNotify = 0x3000;
constexpr std::uint32_t kTable = 0x4000;
constexpr std::uint32_t kPending = 0x5000;
constexpr Bytes kBarSize{0x8000};
constexpr std::uint32_t kNotifyMultiplier = 4;

// Registers of the window capability, from its start.
constexpr std::uint16_t kWindowBar = offsetof(abi::VirtioPciCapability, bar);
constexpr std::uint16_t kWindowOffset = offsetof(abi::VirtioPciCapability, offset);
constexpr std::uint16_t kWindowLength = offsetof(abi::VirtioPciCapability, structure_length);
constexpr std::uint16_t kWindowData = offsetof(abi::VirtioPciWindowCapability, data);

// PCI Code and ID Assignment 1.11 §1.
std::uint32_t class_code(virtio::DeviceType type) {
    switch (type) {
        case virtio::DeviceType::Block:
        case virtio::DeviceType::Fs:
            return 0x018000;  // mass storage, other
        case virtio::DeviceType::Net:
            return 0x020000;  // network, Ethernet
        case virtio::DeviceType::Vsock:
            return 0x028000;  // network, other
        case virtio::DeviceType::Entropy:
            break;
    }
    return 0xff0000;  // fits no class
}

PciConfig::Identity identity(virtio::DeviceType type) {
    const auto id =
        static_cast<std::uint16_t>(abi::kVirtioPciDeviceBase + std::to_underlying(type));
    return {.vendor = abi::kVirtioPciVendor,
            .device = id,
            .revision = abi::kVirtioPciRevision,
            .class_code = class_code(type),
            .subsystem_vendor = abi::kVirtioPciVendor,
            .subsystem = id};
}

// A capability's bytes behind its id and next pointer, which PciConfig fills in.
template <typename T>
std::span<const std::byte> body_of(const T& capability) {
    return std::as_bytes(std::span(&capability, 1)).subspan(2);
}

std::uint64_t offered(const virtio::Device& device) {
    return device.features() | abi::kVirtioFEventIdx | abi::kVirtioFIndirectDesc;
}

}  // namespace

Result<std::unique_ptr<PciTransport>> PciTransport::create(virtio::Device& device,
                                                           const Surroundings& surroundings) {
    std::unique_ptr<PciTransport> transport(new PciTransport(device, surroundings));
    TRY(transport->create_queues(), "virtio-pci queue");
    return transport;
}

PciTransport::PciTransport(virtio::Device& device, const Surroundings& surroundings)
    : device_(device),
      around_(surroundings),
      queues_(device.queue_sizes().size()),
      common_(offered(device), device.queue_sizes(),
              static_cast<std::uint16_t>(device.queue_sizes().size() + 1)),
      msix_(static_cast<std::uint16_t>(device.queue_sizes().size() + 1), surroundings.messages),
      config_(identity(device.type())),
      device_config_(device.config().begin(), device.config().end()) {
    CHECK(queues_.size() <= kQueuesMax);
    CHECK(device_config_.size() <= kPage);
    config_.add_bar(kBarSize);
    add_capabilities();
}

PciTransport::~PciTransport() {
    bar_unmapped();
    if (is_started_) {
        device_.reset();
    }
}

Result<void> PciTransport::create_queues() {
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        Queue& queue = queues_[i];
        queue.kicked = TRY(create_eventfd());
        queue.watch = TRY(
            around_.loop.watch(queue.kicked.ref(), EPOLLIN, [this, i](std::uint32_t /*events*/) {
                (void)drain_eventfd(queues_[i].kicked.ref());
                kick(i);
            }));
    }
    return {};
}

void PciTransport::add_capabilities() {
    add_capability(abi::kVirtioPciCapabilityCommon, kCommon, sizeof(abi::VirtioPciCommonConfig));
    add_capability(abi::kVirtioPciCapabilityIsr, kIsr, 1);
    if (const std::size_t size = device_config_.size(); size != 0) {
        add_capability(abi::kVirtioPciCapabilityDevice, kDevice, static_cast<std::uint32_t>(size));
    }
    const auto queues = static_cast<std::uint32_t>(queues_.size());
    abi::VirtioPciNotifyCapability notify{};
    notify.capability.length = sizeof(notify);
    notify.capability.type = abi::kVirtioPciCapabilityNotify;
    notify.capability.offset = kNotify;
    notify.capability.structure_length = queues * kNotifyMultiplier;
    notify.multiplier = kNotifyMultiplier;
    config_.add_capability(pci::kCapabilityVendor, body_of(notify));

    abi::VirtioPciWindowCapability window{};
    window.capability.length = sizeof(window);
    window.capability.type = abi::kVirtioPciCapabilityWindow;
    abi::VirtioPciWindowCapability window_bits{};
    window_bits.capability.bar = 0xff;
    window_bits.capability.offset = 0xffff'ffff;
    window_bits.capability.structure_length = 0xffff'ffff;
    std::ranges::fill(window_bits.data, 0xff);
    window_at_ =
        config_.add_capability(pci::kCapabilityVendor, body_of(window), body_of(window_bits));

    const pci::MsixCapability msix{.control = static_cast<std::uint16_t>(msix_.vectors() - 1),
                                   .table = kTable,
                                   .pending = kPending};
    const pci::MsixCapability msix_bits{
        .control = pci::kMsixEnable | pci::kMsixMaskAll, .table = 0, .pending = 0};
    msix_at_ = config_.add_capability(pci::kCapabilityMsix, std::as_bytes(std::span(&msix, 1)),
                                      std::as_bytes(std::span(&msix_bits, 1)));
}

void PciTransport::add_capability(std::uint8_t type, std::uint32_t offset, std::uint32_t length) {
    abi::VirtioPciCapability capability{};
    capability.length = sizeof(capability);
    capability.type = type;
    capability.offset = offset;
    capability.structure_length = length;
    config_.add_capability(pci::kCapabilityVendor, body_of(capability));
}

PciBar PciTransport::bar() {
    const AdaptiveLock lock(mutex_);
    return config_.bar();
}

void PciTransport::set_bar_address(std::uint64_t address) {
    const AdaptiveLock lock(mutex_);
    config_.set_bar_address(address);
}

void PciTransport::read_config(std::uint64_t offset, std::span<std::byte> into) {
    const AdaptiveLock lock(mutex_);
    config_.read(offset, into);
    if (offset - (window_at_ + kWindowData) < 4) {
        read_window(offset - (window_at_ + kWindowData), into);
    }
    const bool has_status = offset <= pci::kStatus && pci::kStatus - offset < into.size();
    if (has_status && isr_ != 0 && !msix_.is_enabled()) {
        into[pci::kStatus - offset] |= std::byte{pci::kStatusInterrupt};
    }
}

void PciTransport::write_config(std::uint64_t offset, std::span<const std::byte> from) {
    {
        const AdaptiveLock lock(mutex_);
        config_.write(offset, from);
        if (offset - msix_at_ < 4) {
            msix_.set_control(static_cast<std::uint16_t>(
                config_.get(static_cast<std::uint16_t>(msix_at_ + 2), 2)));
        }
    }
    if (offset - (window_at_ + kWindowData) < 4) {
        write_window();
    }
}

// §4.1.4.9: the BAR for a driver that cannot map it. Its bytes in configuration space are as large
// as the driver says in the capability, and mean that many bytes of the BAR at the offset there.
std::optional<PciTransport::Window> PciTransport::window() const {
    const auto get = [this](std::uint16_t field, std::size_t size) PEPITA_REQUIRES(mutex_) {
        return config_.get(static_cast<std::uint16_t>(window_at_ + field), size);
    };
    const Window found{.offset = get(kWindowOffset, 4), .length = get(kWindowLength, 4)};
    if (get(kWindowBar, 1) != 0 || found.length > 4 || !is_natural(found.offset, found.length) ||
        found.offset >= kBarSize.value()) {
        return std::nullopt;
    }
    return found;
}

/// The part of the window's data at `offset`. What is no access to configuration space stays.
void PciTransport::read_window(std::uint64_t offset, std::span<std::byte> into) {
    const auto found = window();
    if (!found || into.size() > 4 || !is_natural(offset, into.size())) {
        return;
    }
    std::array<std::byte, 4> data{};
    const std::span<std::byte> bytes = std::span(data).first(found->length);
    std::ranges::fill(bytes, std::byte{0xff});
    read_registers(found->offset, bytes);
    std::ranges::copy(std::span(data).subspan(offset, into.size()), into.begin());
}

void PciTransport::write_window() {
    std::optional<Window> found;
    std::array<std::byte, 4> data{};
    {
        const AdaptiveLock lock(mutex_);
        found = window();
        store(data, config_.get(static_cast<std::uint16_t>(window_at_ + kWindowData), 4));
    }
    if (!found) {
        return;
    }
    const std::span<const std::byte> bytes = std::span(data).first(found->length);
    if (write_bar(found->offset, bytes) == Written::NeedsLoop) {
        write_bar_on_loop(found->offset, bytes);
    }
}

void PciTransport::read_bar(std::uint64_t offset, std::span<std::byte> into) {
    const AdaptiveLock lock(mutex_);
    read_registers(offset, into);
}

void PciTransport::read_registers(std::uint64_t offset, std::span<std::byte> into) {
    const std::uint64_t within = offset % kPage;
    switch (offset - within) {
        case kCommon:
            common_.read(within, into);
            break;
        case kIsr:
            if (within == 0) {
                store(into, std::exchange(isr_, std::uint8_t{0}));
            }
            break;
        case kDevice:
            if (within < device_config_.size() && into.size() <= device_config_.size() - within) {
                std::ranges::copy(std::span(device_config_).subspan(within, into.size()),
                                  into.begin());
            }
            break;
        case kTable:
            msix_.read_table(within, into);
            break;
        case kPending:
            msix_.read_pending(within, into);
            break;
        default:
            break;
    }
}

// The loop's: what starts or resets the device, what it is told, what may send a message.
Written PciTransport::write_bar(std::uint64_t offset, std::span<const std::byte> from) {
    const std::uint64_t within = offset % kPage;
    switch (offset - within) {
        case kCommon: {
            if (within == offsetof(abi::VirtioPciCommonConfig, device_status)) {
                return Written::NeedsLoop;
            }
            const AdaptiveLock lock(mutex_);
            CHECK(common_.write(within, from) == virtio::Status::Step::None);
            return Written::Done;
        }
        case kNotify:
            // Reached where the kernel does not signal for us; what is written does not matter.
            if (within / kNotifyMultiplier < queues_.size()) {
                signal_eventfd(queues_[within / kNotifyMultiplier].kicked.ref());
            }
            return Written::Done;
        case kDevice:
        case kTable:
            return Written::NeedsLoop;
        default:
            return Written::Done;
    }
}

void PciTransport::write_bar_on_loop(std::uint64_t offset, std::span<const std::byte> from) {
    const std::uint64_t within = offset % kPage;
    switch (offset - within) {
        case kCommon: {
            virtio::Status::Step step = virtio::Status::Step::None;
            {
                const AdaptiveLock lock(mutex_);
                step = common_.write(within, from);
                // A device that has no session cannot tell that it has changed.
                if (copy_device_config()) {
                    announce_config();
                }
            }
            act(step);
            break;
        }
        case kDevice:
            write_device(within, from);
            break;
        case kTable: {
            const AdaptiveLock lock(mutex_);
            msix_.write_table(within, from);
            break;
        }
        default:
            break;
    }
}

/// Whether anything changed.
bool PciTransport::copy_device_config() {
    const std::span<const std::byte> bytes = device_.config();
    CHECK(bytes.size() == device_config_.size());
    if (std::ranges::equal(bytes, device_config_)) {
        return false;
    }
    std::ranges::copy(bytes, device_config_.begin());
    return true;
}

void PciTransport::write_device(std::uint64_t offset, std::span<const std::byte> from) {
    {
        const AdaptiveLock lock(mutex_);
        const std::size_t size = device_config_.size();
        if (!common_.status().has_driver() || offset >= size || from.size() > size - offset) {
            return;
        }
    }
    device_.write_config(static_cast<std::uint32_t>(offset), from);
    const AdaptiveLock lock(mutex_);
    (void)copy_device_config();  // the driver knows what it wrote
}

void PciTransport::bar_mapped(virtio::GuestAddress start) {
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        Queue& queue = queues_[i];
        const virtio::GuestAddress at{std::to_underlying(start) + kNotify + i * kNotifyMultiplier};
        // Without it each kick is an exit that ends in write_bar(): slower, and nothing is lost.
        if (around_.kicks.add(at, queue.kicked.ref()).has_value()) {
            queue.kick_address = at;
        }
    }
}

void PciTransport::bar_unmapped() {
    for (Queue& queue : queues_) {
        if (const auto at = std::exchange(queue.kick_address, std::nullopt)) {
            around_.kicks.remove(*at, queue.kicked.ref());
        }
    }
}

void PciTransport::act(virtio::Status::Step step) {
    switch (step) {
        case virtio::Status::Step::Started:
            start();
            break;
        case virtio::Status::Step::Reset:
            reset();
            break;
        case virtio::Status::Step::None:
            break;
    }
}

void PciTransport::start() {
    std::uint64_t features = 0;
    std::vector<QueueRegisters> queues;
    {
        const AdaptiveLock lock(mutex_);
        features = common_.status().features();
        queues.assign(common_.queues().begin(), common_.queues().end());
    }
    is_started_ = true;
    device_.start({.memory = around_.memory, .features = features, .notifier = signals_});
    std::uint16_t next = 0;
    for (const QueueRegisters& queue : queues) {
        const std::uint16_t index = next++;
        if (!queue.is_enabled) {
            continue;
        }
        const auto started = device_.start_queue(
            index, {.memory = around_.memory,
                    .geometry = {.size = queue.size,
                                 .descriptors = virtio::GuestAddress{queue.descriptors},
                                 .available = virtio::GuestAddress{queue.available},
                                 .used = virtio::GuestAddress{queue.used}},
                    .features = features,
                    .inflight = std::nullopt});
        if (!started) {
            is_started_ = false;
            device_.reset();
            const AdaptiveLock lock(mutex_);
            return needs_reset();
        }
    }
}

// The status reads 0 only after the device has let go of guest memory (§2.1.2).
void PciTransport::reset() {
    if (std::exchange(is_started_, false)) {
        device_.reset();
    }
    const AdaptiveLock lock(mutex_);
    common_.finish_reset();
    isr_ = 0;
}

void PciTransport::kick(std::size_t queue) {
    {
        const AdaptiveLock lock(mutex_);
        if (!common_.status().is_running()) {
            return;
        }
    }
    device_.kick(static_cast<std::uint16_t>(queue));
}

void PciTransport::interrupt(std::uint16_t vector, std::uint8_t isr) {
    // §4.1.4.5.1: a queue's bit is for drivers without MSI-X, the configuration's for all.
    if (isr == abi::kVirtioIsrConfig || !msix_.is_enabled()) {
        isr_ |= isr;
    }
    msix_.notify(vector);
}

void PciTransport::interrupt_for(std::uint16_t queue) {
    if (queue < queues_.size() && common_.status().has_started()) {
        interrupt(common_.queues()[queue].vector, abi::kVirtioIsrQueue);
    }
}

void PciTransport::announce_config() {
    common_.status().config_changed();
    if (common_.status().has_started()) {
        interrupt(common_.config_vector(), abi::kVirtioIsrConfig);
    }
}

void PciTransport::needs_reset() {
    if (!common_.status().is_running()) {
        return;
    }
    common_.status().set_needs_reset();
    interrupt(common_.config_vector(), abi::kVirtioIsrConfig);
}

void PciTransport::Signals::queue_used(std::uint16_t queue) {
    const AdaptiveLock lock(transport_.mutex_);
    transport_.interrupt_for(queue);
}

void PciTransport::Signals::config_changed() {
    const AdaptiveLock lock(transport_.mutex_);
    (void)transport_.copy_device_config();
    transport_.announce_config();
}

void PciTransport::Signals::queue_broken(std::uint16_t /*queue*/) {
    const AdaptiveLock lock(transport_.mutex_);
    transport_.needs_reset();
}

}  // namespace pepita::vmm
