#include "compute/fault/phi_detector.h"

#include <gtest/gtest.h>

namespace pepita::compute {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kStart{seconds(100)};

PhiDetector beaten(TimePoint& now) {
    PhiDetector detector({}, kStart);
    now = kStart;
    for (int i = 0; i < 300; ++i) {
        now += milliseconds(i % 2 == 0 ? 90 : 110);
        detector.on_heartbeat(now);
    }
    return detector;
}

TEST(PhiDetector, TrustsAPeerThatBeats) {
    TimePoint now;
    const PhiDetector detector = beaten(now);
    EXPECT_LT(detector.phi(now), 0.1);
    EXPECT_LT(detector.phi(now + milliseconds(150)), 1.0);
}

TEST(PhiDetector, SuspectsAndThenGivesUpASilentPeer) {
    TimePoint now;
    const PhiDetector detector = beaten(now);
    // 50 ms is the least deviation: φ = 8 is 5.6 of those after the mean, 12 is 7.0.
    EXPECT_LT(detector.phi(now + milliseconds(350)), PhiDetector::kSuspected);
    EXPECT_GT(detector.phi(now + milliseconds(400)), PhiDetector::kSuspected);
    EXPECT_LT(detector.phi(now + milliseconds(400)), PhiDetector::kDead);
    EXPECT_GT(detector.phi(now + milliseconds(470)), PhiDetector::kDead);
}

TEST(PhiDetector, GrowsWithoutBound) {
    TimePoint now;
    const PhiDetector detector = beaten(now);
    EXPECT_GT(detector.phi(now + seconds(100)), 1e5);
}

TEST(PhiDetector, GivesAStartingPeerTime) {
    const PhiDetector detector({}, kStart);
    EXPECT_LT(detector.phi(kStart + milliseconds(600)), PhiDetector::kSuspected);
    EXPECT_GT(detector.phi(kStart + seconds(2)), PhiDetector::kDead);
}

}  // namespace
}  // namespace pepita::compute
