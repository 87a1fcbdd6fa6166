#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "compute/fault/clock.h"

namespace pepita::compute {

/// When a second copy of a slow call starts: after the time within which 95 % of the calls end, and
/// for at most 5 % of them. Source: Dean and Barroso, "The Tail at Scale", 2013.
class HedgePolicy {
public:
    struct Options {
        double load_max = 0.05;
        Duration delay_min = std::chrono::milliseconds(1);
    };
    explicit HedgePolicy(Options options) : options_(options) {}

    /// A call starts. How long it may take before may_hedge() is due; nothing while too few are
    /// known.
    std::optional<Duration> on_call();
    bool may_hedge();
    void on_latency(Duration latency);

private:
    static constexpr std::size_t kSamples = 256;
    static constexpr std::size_t kSamplesMin = 20;
    static constexpr std::uint64_t kRefresh = 32;  // calls between two looks at all samples

    Options options_;
    std::uint64_t calls_ = 0;
    double credit_ = 0;  // hedges that may start
    std::size_t sampled_ = 0;
    std::array<Duration, kSamples> samples_{};
    Duration delay_{};
};

}  // namespace pepita::compute
