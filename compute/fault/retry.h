#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "compute/fault/clock.h"

namespace pepita::compute {

/// When a task that failed runs again.
struct RetryPolicy {
    static constexpr std::uint32_t kAttemptsMax = 100;

    std::uint32_t attempts = 3;  // in all; 1 is no retry
    Duration base = std::chrono::milliseconds(50);
    double factor = 2;
    Duration cap = std::chrono::seconds(5);

    /// How long to wait before attempt number `next` (the first is 1, so from 2 on). Full jitter:
    /// any time up to base · factor^(next - 2), at most the cap. Source: M. Brooker, "Exponential
    /// Backoff and Jitter", AWS Architecture Blog 2015.
    Duration delay_before(std::uint32_t next, Random& random) const;
};

/// What keeps retries from multiplying the load of a service that is down: retries are at most a
/// fraction of the requests of the last ten seconds, and some a second in any case.
/// Source: Finagle's RetryBudget (20 %, 10 a second, 10 s).
class RetryBudget {
public:
    struct Options {
        double ratio = 0.2;
        double per_second = 10;
    };
    explicit RetryBudget(Options options) : options_(options) {}

    void on_request(TimePoint now);
    /// True if a retry may run; it is counted then.
    bool withdraw(TimePoint now);

private:
    static constexpr std::size_t kSlices = 10;  // of a second each
    struct Slice {
        std::int64_t second = -1;
        double requests = 0;
        double retries = 0;
    };
    Slice& slice_at(TimePoint now);

    Options options_;
    std::array<Slice, kSlices> slices_{};
};

}  // namespace pepita::compute
