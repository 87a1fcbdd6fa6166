#include "compute/fault/hedge.h"

#include <algorithm>

namespace pepita::compute {

std::optional<Duration> HedgePolicy::on_call() {
    credit_ = std::min(credit_ + options_.load_max, 10.0);
    const std::size_t known = std::min(sampled_, kSamples);
    if (known < kSamplesMin) {
        return std::nullopt;
    }
    if (calls_++ % kRefresh == 0) {
        std::array<Duration, kSamples> sorted = samples_;
        const auto at = sorted.begin() + static_cast<std::ptrdiff_t>(known * 95 / 100);
        std::nth_element(sorted.begin(), at, sorted.begin() + static_cast<std::ptrdiff_t>(known));
        delay_ = std::max(*at, options_.delay_min);
    }
    return delay_;
}

bool HedgePolicy::may_hedge() {
    if (credit_ < 1) {
        return false;
    }
    credit_ -= 1;
    return true;
}

void HedgePolicy::on_latency(Duration latency) { samples_[sampled_++ % kSamples] = latency; }

}  // namespace pepita::compute
