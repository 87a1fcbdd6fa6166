#pragma once

#include <chrono>
#include <cstddef>
#include <deque>

#include "compute/fault/clock.h"

namespace pepita::compute {

/// How sure we are that a peer is dead, from the times of its heartbeats: φ = -log10 of the chance
/// that the next one is only late. Source: Hayashibara et al., "The φ accrual failure detector",
/// 2004.
class PhiDetector {
public:
    static constexpr double kSuspected = 8;
    static constexpr double kDead = 12;
    struct Options {
        Duration first_estimate = std::chrono::milliseconds(500);
        Duration deviation_min = std::chrono::milliseconds(50);
        std::size_t samples_max = 200;
    };
    PhiDetector(Options options, TimePoint now);

    void on_heartbeat(TimePoint now);
    /// 0 just after a heartbeat; it grows without bound.
    double phi(TimePoint now) const;

private:
    Options options_;
    TimePoint last_;
    std::deque<double> intervals_;  // in seconds
};

}  // namespace pepita::compute
