#include "vmm/virtio/status.h"

#include <cstdint>

#include "kernel-abi/uapi/virtio_pci.h"

namespace pepita::vmm::virtio {

namespace abi = pepita::abi::virtio;

namespace {

constexpr std::uint32_t half(std::uint64_t features, std::uint32_t select) {
    return select < 2 ? static_cast<std::uint32_t>(features >> (32U * select)) : 0;
}

}  // namespace

Status::Status(std::uint64_t offered) : offered_(offered | abi::kFeatureVersion1) {}

Status::Step Status::write(std::uint8_t value) {
    if (value == 0) {
        return Step::Reset;
    }
    const auto asked = static_cast<std::uint8_t>(value & ~bits_);
    const auto dropped = static_cast<std::uint8_t>(bits_ & ~value & ~abi::kStatusNeedsReset);
    // §2.1.1: the driver must not clear a bit. After FAILED or NEEDS_RESET only a reset counts.
    if (dropped != 0 || has(abi::kStatusFailed) || has(abi::kStatusNeedsReset)) {
        return Step::None;
    }
    // Some drivers set ACKNOWLEDGE and DRIVER at once; each step still needs the one before it.
    if ((asked & abi::kStatusAcknowledge) != 0) {
        bits_ |= abi::kStatusAcknowledge;
    }
    if ((asked & abi::kStatusDriver) != 0 && has(abi::kStatusAcknowledge)) {
        bits_ |= abi::kStatusDriver;
    }
    if ((asked & abi::kStatusFailed) != 0) {
        bits_ |= abi::kStatusFailed;
        return Step::None;
    }
    if ((asked & abi::kStatusFeaturesOk) != 0) {
        settle_features();
        return Step::None;  // the driver has to see our answer before it may go on
    }
    if ((asked & abi::kStatusDriverOk) != 0 && has(abi::kStatusFeaturesOk)) {
        bits_ |= abi::kStatusDriverOk;
        return Step::Started;
    }
    return Step::None;
}

void Status::settle_features() {
    const bool is_subset = (accepted_ & ~offered_) == 0;
    const bool is_modern = (accepted_ & abi::kFeatureVersion1) != 0;
    if (has(abi::kStatusDriver) && is_subset && is_modern) {
        bits_ |= abi::kStatusFeaturesOk;
    }
}

void Status::finish_reset() {
    bits_ = 0;
    accepted_ = 0;
}

std::uint32_t Status::offered(std::uint32_t select) const { return half(offered_, select); }

std::uint32_t Status::accepted(std::uint32_t select) const { return half(accepted_, select); }

void Status::accept(std::uint32_t select, std::uint32_t features) {
    const bool is_open = has(abi::kStatusDriver) && !has(abi::kStatusFeaturesOk) &&
                         !has(abi::kStatusNeedsReset) && !has(abi::kStatusFailed);
    if (!is_open) {
        return;
    }
    if (select < 2) {
        const std::uint32_t shift = 32U * select;
        accepted_ &= ~(std::uint64_t{0xffff'ffff} << shift);
        accepted_ |= std::uint64_t{features} << shift;
    }
}

bool Status::has_driver() const { return has(abi::kStatusDriver); }

bool Status::has_features() const { return has(abi::kStatusFeaturesOk); }

bool Status::is_running() const {
    return has(abi::kStatusDriverOk) && !has(abi::kStatusNeedsReset);
}

void Status::set_needs_reset() { bits_ |= abi::kStatusNeedsReset; }

}  // namespace pepita::vmm::virtio
