#include "vmm/bus/msix.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/uapi/pci.h"
#include "vmm/bus/access.h"
#include "vmm/bus/msi_sink.h"

namespace pepita::vmm {

namespace pci = abi::pci;

namespace {

constexpr std::uint64_t kEntrySize = sizeof(pci::MsixEntry);

}  // namespace

Msix::Msix(std::uint16_t vectors, MsiSink& sink) : sink_(sink) {
    CHECK(vectors > 0);
    CHECK(vectors <= pci::kMsixVectorsMax);
    table_.resize(vectors);
}

void Msix::set_control(std::uint16_t control) {
    control_ = control;
    for (Vector& vector : table_) {
        if (!is_enabled()) {
            // What was meant for the driver that is leaving is not for the next one.
            vector.is_pending = false;
        }
        deliver_pending(vector);
    }
}

void Msix::notify(std::uint16_t vector) {
    if (!is_enabled() || vector >= table_.size()) {
        return;
    }
    table_[vector].is_pending = true;
    deliver_pending(table_[vector]);
}

void Msix::deliver_pending(Vector& vector) {
    const bool is_masked = !is_enabled() || (control_ & pci::kMsixMaskAll) != 0 ||
                           (vector.entry.control & pci::kMsixEntryMasked) != 0;
    if (!vector.is_pending || is_masked) {
        return;
    }
    vector.is_pending = false;
    const std::uint64_t high = vector.entry.address_high;
    sink_.send((high << 32U) | vector.entry.address_low, vector.entry.data);
}

void Msix::read_table(std::uint64_t offset, std::span<std::byte> into) const {
    if (!is_access(offset, into.size())) {
        return;
    }
    const std::span<const std::byte> entry =
        std::as_bytes(std::span(&table_[offset / kEntrySize].entry, 1));
    std::ranges::copy(entry.subspan(offset % kEntrySize, into.size()), into.begin());
}

void Msix::write_table(std::uint64_t offset, std::span<const std::byte> from) {
    if (!is_access(offset, from.size())) {
        return;
    }
    Vector& vector = table_[offset / kEntrySize];
    const std::span<std::byte> entry = std::as_writable_bytes(std::span(&vector.entry, 1));
    std::ranges::copy(from, entry.begin() + static_cast<std::ptrdiff_t>(offset % kEntrySize));
    vector.entry.control &= pci::kMsixEntryMasked;  // all else is reserved
    deliver_pending(vector);
}

void Msix::read_pending(std::uint64_t offset, std::span<std::byte> into) const {
    const std::uint64_t bytes = (table_.size() + 63) / 64 * 8;
    if (offset >= bytes || into.size() > bytes - offset) {
        return;
    }
    for (std::size_t i = 0; i < into.size(); ++i) {
        into[i] = std::byte{0};
        for (std::size_t bit = 0; bit < 8; ++bit) {
            const std::size_t vector = (offset + i) * 8 + bit;
            if (vector < table_.size() && table_[vector].is_pending) {
                into[i] |= std::byte{1} << bit;
            }
        }
    }
}

bool Msix::is_access(std::uint64_t offset, std::size_t size) const {
    return (size == 4 || size == 8) && is_natural(offset, size) &&
           offset / kEntrySize < table_.size();
}

}  // namespace pepita::vmm
