#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "compute/fault/clock.h"

namespace pepita::compute {

/// Stops calls to what fails most of the time, and probes whether it has recovered.
///
///   Closed ── failures ≥ ratio of the last 10 s ──▶ Open ── a while ──▶ HalfOpen
///     ▲                                              ▲                     │
///     └───────── all probes succeeded ───────────────┼─────────────────────┤
///                                                    └── one failed ───────┘ (waits twice as long)
class CircuitBreaker {
public:
    enum class State : std::uint8_t { Closed, Open, HalfOpen };
    struct Options {
        double failure_ratio = 0.5;
        std::uint32_t calls_min = 20;
        Duration open = std::chrono::seconds(5);
        Duration open_max = std::chrono::seconds(60);
        std::uint32_t probes = 3;
    };
    CircuitBreaker(Options options, std::uint64_t seed)
        : options_(options), random_(seed), open_for_(options.open) {}

    /// Whether a call may start. Each true is followed by one on_result() or on_abandoned().
    bool allow(TimePoint now);
    void on_result(TimePoint now, bool success);
    /// The call ended without saying anything of the callee: it was cancelled.
    void on_abandoned();
    State state() const { return state_; }

private:
    static constexpr std::size_t kSlices = 10;
    struct Slice {
        std::int64_t second = -1;
        std::uint32_t calls = 0;
        std::uint32_t failures = 0;
    };
    void trip(TimePoint now);
    void close();
    bool is_failing(TimePoint now) const;

    Options options_;
    Random random_;
    State state_ = State::Closed;
    Duration open_for_;
    TimePoint reopens_at_;
    std::uint32_t probes_started_ = 0;
    std::uint32_t probes_succeeded_ = 0;
    std::array<Slice, kSlices> slices_{};
};

}  // namespace pepita::compute
