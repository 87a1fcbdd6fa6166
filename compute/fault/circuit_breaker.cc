#include "compute/fault/circuit_breaker.h"

#include <algorithm>

namespace pepita::compute {
namespace {

std::int64_t second_of(TimePoint now) {
    return std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
}

}  // namespace

bool CircuitBreaker::allow(TimePoint now) {
    if (state_ == State::Open && now >= reopens_at_) {
        state_ = State::HalfOpen;
        probes_started_ = 0;
        probes_succeeded_ = 0;
    }
    switch (state_) {
        case State::Closed:
            return true;
        case State::Open:
            return false;
        case State::HalfOpen:
            break;
    }
    if (probes_started_ == options_.probes) {
        return false;
    }
    ++probes_started_;
    return true;
}

void CircuitBreaker::on_result(TimePoint now, bool success) {
    if (state_ == State::Open) {
        return;  // of a call that started before
    }
    if (state_ == State::HalfOpen) {
        if (!success) {
            open_for_ = std::min(open_for_ * 2, options_.open_max);
            trip(now);
        } else if (++probes_succeeded_ == options_.probes) {
            close();
        }
        return;
    }
    const std::int64_t second = second_of(now);
    Slice& slice = slices_[static_cast<std::size_t>(second) % kSlices];
    if (slice.second != second) {
        slice = {.second = second, .calls = 0, .failures = 0};
    }
    ++slice.calls;
    slice.failures += success ? 0 : 1;
    if (!success && is_failing(now)) {
        trip(now);
    }
}

void CircuitBreaker::on_abandoned() {
    if (state_ == State::HalfOpen && probes_started_ > probes_succeeded_) {
        --probes_started_;
    }
}

bool CircuitBreaker::is_failing(TimePoint now) const {
    std::uint32_t calls = 0;
    std::uint32_t failures = 0;
    for (const Slice& slice : slices_) {
        if (slice.second > second_of(now) - static_cast<std::int64_t>(kSlices)) {
            calls += slice.calls;
            failures += slice.failures;
        }
    }
    return calls >= options_.calls_min && failures >= options_.failure_ratio * calls;
}

void CircuitBreaker::trip(TimePoint now) {
    state_ = State::Open;
    // Jitter, so that many clients do not probe together.
    reopens_at_ =
        now + std::chrono::duration_cast<Duration>(open_for_ * (1 + 0.1 * random_.unit()));
}

void CircuitBreaker::close() {
    state_ = State::Closed;
    open_for_ = options_.open;
    slices_ = {};
}

}  // namespace pepita::compute
