#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/uapi/virtio_pci.h"
#include "kernel-abi/virtio/status.h"

namespace pepita::vmm {

/// What the driver says about one queue. From queue_enable until reset nothing here changes but the
/// vector: what the driver reads back is what is in use.
struct QueueRegisters {
    std::uint16_t size_max = 0;
    std::uint16_t size = 0;
    std::uint16_t vector = abi::kVirtioNoVector;
    bool is_enabled = false;
    std::uint64_t descriptors = 0;
    std::uint64_t available = 0;
    std::uint64_t used = 0;
};

/// The common configuration structure (virtio 1.2 §4.1.4.3): registers and their rules. It acts on
/// nothing; what a write asks for comes back as a Status::Step.
class PciCommon {
public:
    /// `vectors` is how many MSI-X vectors exist.
    PciCommon(std::uint64_t offered, std::span<const std::uint16_t> queue_sizes,
              std::uint16_t vectors);

    /// Any size within the structure; beyond it, nothing.
    void read(std::uint64_t offset, std::span<std::byte> into) const;

    /// A field in its natural width, the 64-bit ones in halves or (beyond §4.1.3.1) at once. All
    /// else is dropped.
    virtio::Status::Step write(std::uint64_t offset, std::span<const std::byte> from);

    /// All registers as they were at first.
    void finish_reset();

    virtio::Status& status() { return status_; }
    const virtio::Status& status() const { return status_; }
    std::span<const QueueRegisters> queues() const { return queues_; }
    std::uint16_t config_vector() const { return config_vector_; }

private:
    abi::VirtioPciCommonConfig snapshot() const;
    void write_word(std::uint64_t offset, std::uint32_t value);
    void write_half(std::uint64_t offset, std::uint16_t value);
    void write_address(std::uint64_t offset, std::uint32_t value);
    QueueRegisters* selected();
    QueueRegisters* writable();
    std::uint16_t valid_vector(std::uint16_t vector) const;

    virtio::Status status_;
    std::vector<QueueRegisters> queues_;
    std::uint16_t vectors_;
    std::uint16_t config_vector_ = abi::kVirtioNoVector;
    std::uint16_t queue_select_ = 0;
    std::uint32_t device_feature_select_ = 0;
    std::uint32_t driver_feature_select_ = 0;
};

}  // namespace pepita::vmm
