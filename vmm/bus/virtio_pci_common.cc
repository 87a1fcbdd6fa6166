#include "vmm/bus/virtio_pci_common.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/uapi/virtio_pci.h"
#include "kernel-abi/virtio/status.h"
#include "vmm/bus/access.h"

namespace pepita::vmm {

using Layout = abi::VirtioPciCommonConfig;

namespace {

constexpr std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr std::uint32_t high(std::uint64_t value) {
    return static_cast<std::uint32_t>(value >> 32U);
}

void set_low(std::uint64_t& value, std::uint32_t half) {
    value = (value & ~std::uint64_t{0xffff'ffff}) | half;
}
void set_high(std::uint64_t& value, std::uint32_t half) {
    value = low(value) | (std::uint64_t{half} << 32U);
}

}  // namespace

PciCommon::PciCommon(std::uint64_t offered, std::span<const std::uint16_t> queue_sizes,
                     std::uint16_t vectors)
    : status_(offered), vectors_(vectors) {
    for (const std::uint16_t size : queue_sizes) {
        queues_.push_back({.size_max = size, .size = size});
    }
}

void PciCommon::read(std::uint64_t offset, std::span<std::byte> into) const {
    const Layout registers = snapshot();
    const std::span<const std::byte> bytes = std::as_bytes(std::span(&registers, 1));
    if (offset < bytes.size() && into.size() <= bytes.size() - offset) {
        std::ranges::copy(bytes.subspan(offset, into.size()), into.begin());
    }
}

Layout PciCommon::snapshot() const {
    Layout out{};
    out.device_feature_select = device_feature_select_;
    out.device_feature = status_.offered(device_feature_select_);
    out.driver_feature_select = driver_feature_select_;
    out.driver_feature = status_.accepted(driver_feature_select_);
    out.config_msix_vector = config_vector_;
    out.num_queues = static_cast<std::uint16_t>(queues_.size());
    out.device_status = status_.value();
    out.config_generation = status_.generation();
    out.queue_select = queue_select_;
    out.queue_msix_vector = abi::kVirtioNoVector;
    if (queue_select_ < queues_.size()) {
        const QueueRegisters& queue = queues_[queue_select_];
        out.queue_size = queue.size;
        out.queue_msix_vector = queue.vector;
        out.queue_enable = queue.is_enabled ? 1 : 0;
        out.queue_notify_off = queue_select_;
        out.queue_desc_low = low(queue.descriptors);
        out.queue_desc_high = high(queue.descriptors);
        out.queue_driver_low = low(queue.available);
        out.queue_driver_high = high(queue.available);
        out.queue_device_low = low(queue.used);
        out.queue_device_high = high(queue.used);
    }
    return out;
}

virtio::Status::Step PciCommon::write(std::uint64_t offset, std::span<const std::byte> from) {
    if (!is_natural(offset, from.size())) {
        return virtio::Status::Step::None;
    }
    const std::uint64_t value = load(from);
    switch (from.size()) {
        case 1:
            return offset == offsetof(Layout, device_status)
                       ? status_.write(static_cast<std::uint8_t>(value))
                       : virtio::Status::Step::None;
        case 2:
            write_half(offset, static_cast<std::uint16_t>(value));
            break;
        case 4:
            write_word(offset, low(value));
            break;
        default:
            write_address(offset, low(value));
            write_address(offset + 4, high(value));
            break;
    }
    return virtio::Status::Step::None;
}

void PciCommon::write_half(std::uint64_t offset, std::uint16_t value) {
    switch (offset) {
        case offsetof(Layout, config_msix_vector):
            config_vector_ = valid_vector(value);
            break;
        case offsetof(Layout, queue_select):
            queue_select_ = value;
            break;
        case offsetof(Layout, queue_size):
            if (QueueRegisters* queue = writable();
                queue != nullptr && std::has_single_bit(value) && value <= queue->size_max) {
                queue->size = value;
            }
            break;
        case offsetof(Layout, queue_msix_vector):
            if (QueueRegisters* queue = selected()) {
                queue->vector = valid_vector(value);
            }
            break;
        case offsetof(Layout, queue_enable):
            // §4.1.4.3.2: the driver must not write 0 here; a reset alone ends a queue.
            if (QueueRegisters* queue = writable(); queue != nullptr && value == 1) {
                queue->is_enabled = true;
            }
            break;
        default:
            break;
    }
}

void PciCommon::write_word(std::uint64_t offset, std::uint32_t value) {
    switch (offset) {
        case offsetof(Layout, device_feature_select):
            device_feature_select_ = value;
            break;
        case offsetof(Layout, driver_feature_select):
            driver_feature_select_ = value;
            break;
        case offsetof(Layout, driver_feature):
            status_.accept(driver_feature_select_, value);
            break;
        default:
            write_address(offset, value);
            break;
    }
}

void PciCommon::write_address(std::uint64_t offset, std::uint32_t value) {
    QueueRegisters* queue = writable();
    if (queue == nullptr) {
        return;
    }
    switch (offset) {
        case offsetof(Layout, queue_desc_low):
            set_low(queue->descriptors, value);
            break;
        case offsetof(Layout, queue_desc_high):
            set_high(queue->descriptors, value);
            break;
        case offsetof(Layout, queue_driver_low):
            set_low(queue->available, value);
            break;
        case offsetof(Layout, queue_driver_high):
            set_high(queue->available, value);
            break;
        case offsetof(Layout, queue_device_low):
            set_low(queue->used, value);
            break;
        case offsetof(Layout, queue_device_high):
            set_high(queue->used, value);
            break;
        default:
            break;
    }
}

void PciCommon::finish_reset() {
    status_.finish_reset();
    for (QueueRegisters& queue : queues_) {
        queue = {.size_max = queue.size_max, .size = queue.size_max};
    }
    config_vector_ = abi::kVirtioNoVector;
    queue_select_ = 0;
    device_feature_select_ = 0;
    driver_feature_select_ = 0;
}

QueueRegisters* PciCommon::selected() {
    return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}

// A queue is set up between FEATURES_OK and DRIVER_OK (§3.1.1), before it is enabled.
QueueRegisters* PciCommon::writable() {
    QueueRegisters* queue = selected();
    const bool is_setup = status_.has_features() && !status_.has_started();
    return queue != nullptr && is_setup && !queue->is_enabled ? queue : nullptr;
}

std::uint16_t PciCommon::valid_vector(std::uint16_t vector) const {
    return vector < vectors_ ? vector : abi::kVirtioNoVector;
}

}  // namespace pepita::vmm
