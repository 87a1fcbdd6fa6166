#include "compute/fault/retry.h"

#include <algorithm>
#include <cmath>

namespace pepita::compute {
namespace {

std::int64_t second_of(TimePoint now) {
    return std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
}

}  // namespace

Duration RetryPolicy::delay_before(std::uint32_t next, Random& random) const {
    const double steps = next > 2 ? next - 2 : 0;
    const double longest = std::min(static_cast<double>(base.count()) * std::pow(factor, steps),
                                    static_cast<double>(cap.count()));
    return Duration(static_cast<Duration::rep>(longest * random.unit()));
}

RetryBudget::Slice& RetryBudget::slice_at(TimePoint now) {
    const std::int64_t second = second_of(now);
    Slice& slice = slices_[static_cast<std::size_t>(second) % kSlices];
    if (slice.second != second) {
        slice = {.second = second, .requests = 0, .retries = 0};
    }
    return slice;
}

void RetryBudget::on_request(TimePoint now) { slice_at(now).requests += 1; }

bool RetryBudget::withdraw(TimePoint now) {
    Slice& current = slice_at(now);
    double requests = 0;
    double retries = 0;
    for (const Slice& slice : slices_) {
        if (slice.second > second_of(now) - static_cast<std::int64_t>(kSlices)) {
            requests += slice.requests;
            retries += slice.retries;
        }
    }
    const double allowed = std::max(options_.ratio * requests, options_.per_second * kSlices);
    if (retries + 1 > allowed) {
        return false;
    }
    current.retries += 1;
    return true;
}

}  // namespace pepita::compute
