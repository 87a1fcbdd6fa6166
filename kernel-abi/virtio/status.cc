#include "kernel-abi/virtio/status.h"

#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

namespace pepita::virtio {

namespace {

constexpr std::uint32_t half(std::uint64_t features, std::uint32_t select) {
    return select < 2 ? static_cast<std::uint32_t>(features >> (32U * select)) : 0;
}

}  // namespace

Status::Status(std::uint64_t offered) : offered_(offered | abi::kVirtioFVersion1) {}

Status::Step Status::write(std::uint8_t value) {
    if (value == 0) {
        return Step::Reset;
    }
    const auto asked = static_cast<std::uint8_t>(value & ~bits_);
    const auto dropped = static_cast<std::uint8_t>(bits_ & ~value & ~abi::kVirtioStatusNeedsReset);
    // §2.1.1: the driver must not clear a bit. After FAILED or NEEDS_RESET only a reset counts.
    if (dropped != 0 || has(abi::kVirtioStatusFailed) || has(abi::kVirtioStatusNeedsReset)) {
        return Step::None;
    }
    // Some drivers set ACKNOWLEDGE and DRIVER at once; each step still needs the one before it.
    if ((asked & abi::kVirtioStatusAcknowledge) != 0) {
        bits_ |= abi::kVirtioStatusAcknowledge;
    }
    if ((asked & abi::kVirtioStatusDriver) != 0 && has(abi::kVirtioStatusAcknowledge)) {
        bits_ |= abi::kVirtioStatusDriver;
    }
    if ((asked & abi::kVirtioStatusFailed) != 0) {
        bits_ |= abi::kVirtioStatusFailed;
        return Step::None;
    }
    if ((asked & abi::kVirtioStatusFeaturesOk) != 0) {
        settle_features();
        return Step::None;  // the driver has to see our answer before it may go on
    }
    if ((asked & abi::kVirtioStatusDriverOk) != 0 && has(abi::kVirtioStatusFeaturesOk)) {
        bits_ |= abi::kVirtioStatusDriverOk;
        return Step::Started;
    }
    return Step::None;
}

void Status::settle_features() {
    const bool is_subset = (accepted_ & ~offered_) == 0;
    const bool is_modern = (accepted_ & abi::kVirtioFVersion1) != 0;
    if (has(abi::kVirtioStatusDriver) && is_subset && is_modern) {
        bits_ |= abi::kVirtioStatusFeaturesOk;
    }
}

void Status::finish_reset() {
    bits_ = 0;
    accepted_ = 0;
}

std::uint32_t Status::offered(std::uint32_t select) const { return half(offered_, select); }

std::uint32_t Status::accepted(std::uint32_t select) const { return half(accepted_, select); }

void Status::accept(std::uint32_t select, std::uint32_t features) {
    const bool is_open = has(abi::kVirtioStatusDriver) && !has(abi::kVirtioStatusFeaturesOk) &&
                         !has(abi::kVirtioStatusNeedsReset) && !has(abi::kVirtioStatusFailed);
    if (!is_open) {
        return;
    }
    if (select < 2) {
        const std::uint32_t shift = 32U * select;
        accepted_ &= ~(std::uint64_t{0xffff'ffff} << shift);
        accepted_ |= std::uint64_t{features} << shift;
    }
}

bool Status::has_driver() const { return has(abi::kVirtioStatusDriver); }

bool Status::has_features() const { return has(abi::kVirtioStatusFeaturesOk); }

bool Status::has_started() const { return has(abi::kVirtioStatusDriverOk); }

bool Status::is_running() const { return has_started() && !has(abi::kVirtioStatusNeedsReset); }

void Status::set_needs_reset() { bits_ |= abi::kVirtioStatusNeedsReset; }

}  // namespace pepita::virtio
