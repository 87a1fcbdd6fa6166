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

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/pci.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_pci.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "kernel-abi/virtio/status.h"
#include "vmm/bus/access.h"
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
            return 0x018000;  // mass storage, other
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
      common_(offered(device), device.queue_sizes(),
              static_cast<std::uint16_t>(device.queue_sizes().size() + 1)),
      msix_(static_cast<std::uint16_t>(device.queue_sizes().size() + 1), surroundings.messages),
      config_(identity(device.type())) {
    CHECK(device.queue_sizes().size() <= kQueuesMax);
    CHECK(device.config().size() <= kPage);
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
    queues_.resize(common_.queues().size());
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
    if (const std::size_t size = device_.config().size(); size != 0) {
        add_capability(abi::kVirtioPciCapabilityDevice, kDevice, static_cast<std::uint32_t>(size));
    }
    const auto queues = static_cast<std::uint32_t>(common_.queues().size());
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

void PciTransport::read_config(std::uint64_t offset, std::span<std::byte> into) {
    const bool interrupts = isr_ != 0 && !msix_.is_enabled();
    const std::uint32_t rest = config_.get(pci::kStatus, 2) & ~std::uint32_t{pci::kStatusInterrupt};
    config_.set(pci::kStatus, 2, rest | (interrupts ? pci::kStatusInterrupt : 0U));
    if (offset - (window_at_ + kWindowData) < 4) {
        read_window();
    }
    config_.read(offset, into);
}

void PciTransport::write_config(std::uint64_t offset, std::span<const std::byte> from) {
    config_.write(offset, from);
    if (offset - (window_at_ + kWindowData) < 4) {
        write_window();
    }
    if (offset - msix_at_ < 4) {
        msix_.set_control(
            static_cast<std::uint16_t>(config_.get(static_cast<std::uint16_t>(msix_at_ + 2), 2)));
    }
}

// §4.1.4.9: the BAR for a driver that cannot map it. Its bytes in configuration space are as large
// as the driver says in the capability, and mean that many bytes of the BAR at the offset there.
std::optional<std::size_t> PciTransport::window_length() const {
    const auto get = [this](std::uint16_t field, std::size_t size) {
        return config_.get(static_cast<std::uint16_t>(window_at_ + field), size);
    };
    const std::uint32_t offset = get(kWindowOffset, 4);
    const std::uint32_t length = get(kWindowLength, 4);
    if (get(kWindowBar, 1) != 0 || length > 4 || !is_natural(offset, length) ||
        offset >= kBarSize.value()) {
        return std::nullopt;
    }
    return length;
}

void PciTransport::read_window() {
    if (const auto length = window_length()) {
        std::array<std::byte, 4> data{};
        const std::span<std::byte> bytes = std::span(data).first(*length);
        std::ranges::fill(bytes, std::byte{0xff});
        read_bar(config_.get(static_cast<std::uint16_t>(window_at_ + kWindowOffset), 4), bytes);
        config_.set(static_cast<std::uint16_t>(window_at_ + kWindowData), 4,
                    static_cast<std::uint32_t>(load(data)));
    }
}

void PciTransport::write_window() {
    if (const auto length = window_length()) {
        std::array<std::byte, 4> data{};
        store(data, config_.get(static_cast<std::uint16_t>(window_at_ + kWindowData), 4));
        write_bar(config_.get(static_cast<std::uint16_t>(window_at_ + kWindowOffset), 4),
                  std::span(data).first(*length));
    }
}

void PciTransport::read_bar(std::uint64_t offset, std::span<std::byte> into) {
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
            read_device(within, into);
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

void PciTransport::write_bar(std::uint64_t offset, std::span<const std::byte> from) {
    const std::uint64_t within = offset % kPage;
    switch (offset - within) {
        case kCommon:
            act(common_.write(within, from));
            break;
        case kDevice:
            write_device(within, from);
            break;
        case kNotify:
            // Reached where the kernel does not signal for us; what is written does not matter.
            kick(within / kNotifyMultiplier);
            break;
        case kTable:
            msix_.write_table(within, from);
            break;
        default:
            break;
    }
}

void PciTransport::read_device(std::uint64_t offset, std::span<std::byte> into) const {
    const std::span<const std::byte> bytes = device_.config();
    if (offset < bytes.size() && into.size() <= bytes.size() - offset) {
        std::ranges::copy(bytes.subspan(offset, into.size()), into.begin());
    }
}

void PciTransport::write_device(std::uint64_t offset, std::span<const std::byte> from) {
    const std::size_t size = device_.config().size();
    if (common_.status().has_driver() && offset < size && from.size() <= size - offset) {
        device_.write_config(static_cast<std::uint32_t>(offset), from);
    }
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
    const std::uint64_t features = common_.status().features();
    std::vector<std::pair<std::uint16_t, virtio::Ring>> rings;
    for (std::uint16_t i = 0; i < common_.queues().size(); ++i) {
        const QueueRegisters& queue = common_.queues()[i];
        if (!queue.is_enabled) {
            continue;
        }
        auto ring = virtio::Ring::open(around_.memory,
                                       {.size = queue.size,
                                        .descriptors = virtio::GuestAddress{queue.descriptors},
                                        .available = virtio::GuestAddress{queue.available},
                                        .used = virtio::GuestAddress{queue.used}},
                                       features);
        if (!ring) {
            needs_reset();
            return;
        }
        rings.emplace_back(i, *std::move(ring));
    }
    is_started_ = true;
    device_.start({.memory = around_.memory, .features = features, .notifier = signals_});
    for (auto& [queue, ring] : rings) {
        device_.start_queue(queue, std::move(ring));
    }
}

// The status reads 0 only after the device has let go of guest memory (§2.1.2).
void PciTransport::reset() {
    if (std::exchange(is_started_, false)) {
        device_.reset();
    }
    common_.finish_reset();
    isr_ = 0;
}

void PciTransport::kick(std::size_t queue) {
    if (queue < queues_.size() && common_.status().is_running()) {
        device_.kick(static_cast<std::uint16_t>(queue));
    }
}

void PciTransport::interrupt(std::uint16_t vector, std::uint8_t isr) {
    // §4.1.4.5.1: a queue's bit is for drivers without MSI-X, the configuration's for all.
    if (isr == abi::kVirtioIsrConfig || !msix_.is_enabled()) {
        isr_ |= isr;
    }
    msix_.notify(vector);
}

void PciTransport::needs_reset() {
    common_.status().set_needs_reset();
    interrupt(common_.config_vector(), abi::kVirtioIsrConfig);
}

void PciTransport::Signals::queue_used(std::uint16_t queue) {
    const PciCommon& common = transport_.common_;
    if (queue < common.queues().size() && common.status().has_started()) {
        transport_.interrupt(common.queues()[queue].vector, abi::kVirtioIsrQueue);
    }
}

void PciTransport::Signals::config_changed() {
    virtio::Status& status = transport_.common_.status();
    status.config_changed();
    if (status.has_started()) {
        transport_.interrupt(transport_.common_.config_vector(), abi::kVirtioIsrConfig);
    }
}

void PciTransport::Signals::queue_broken(std::uint16_t /*queue*/) {
    if (transport_.common_.status().is_running()) {
        transport_.needs_reset();
    }
}

}  // namespace pepita::vmm
