#include "compute/fault/phi_detector.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pepita::compute {
namespace {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

PhiDetector::PhiDetector(Options options, TimePoint now) : options_(options), last_(now) {
    intervals_.push_back(seconds(options.first_estimate));
}

void PhiDetector::on_heartbeat(TimePoint now) {
    intervals_.push_back(seconds(now - last_));
    last_ = now;
    if (intervals_.size() > options_.samples_max) {
        intervals_.pop_front();
    }
}

double PhiDetector::phi(TimePoint now) const {
    double sum = 0;
    double squares = 0;
    for (const double interval : intervals_) {
        sum += interval;
        squares += interval * interval;
    }
    const auto count = static_cast<double>(intervals_.size());
    const double mean = sum / count;
    const double variance = std::max(squares / count - mean * mean, 0.0);
    const double deviation = std::max(std::sqrt(variance), seconds(options_.deviation_min));
    const double late = (seconds(now - last_) - mean) / deviation;
    // The tail of the normal distribution. Far out, where erfc() is 0, its asymptote.
    const double tail = std::erfc(late / std::numbers::sqrt2) / 2;
    if (tail > 0) {
        return -std::log10(tail);
    }
    return (late * late / 2 + std::log(late * std::sqrt(2 * std::numbers::pi))) /
           std::numbers::ln10;
}

}  // namespace pepita::compute
