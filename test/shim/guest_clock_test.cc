#include "shim/guest_clock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/channel.h"
#include "shim/clock.h"
#include "test/support/channel_pair.h"
#include "test/support/fake_guest_service.h"

namespace pepita::shim {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// Holds the last task until the test lets the time pass.
class HeldClock final : public Clock {
public:
    std::unique_ptr<Deadline> after(milliseconds time, Task held) override {
        delay = time;
        task = std::move(held);
        return std::make_unique<Deadline>();
    }
    milliseconds delay{0};
    Task task;
};

// A guest that is 700 ms behind, and a host whose time passes only between request and response.
class GuestClockTest : public testing::Test {
protected:
    GuestClockTest() {
        service_.clock = host_ - milliseconds(700);
        guest_clock_->compare();
    }
    void run() {
        clock_.task = nullptr;
        for (int round = 0; round < 1000 && !clock_.task; ++round) {
            ASSERT_TRUE(pair_.loop->run_once(milliseconds(10)).has_value());
        }
        ASSERT_TRUE(clock_.task);
    }
    void next() {
        Clock::Task task = std::move(clock_.task);
        task();
        run();
    }

    nanoseconds host_ = seconds(1'700'000'000);
    milliseconds round_trip_{2};
    test::FakeGuestService service_;
    test::ChannelPair pair_{[this](runtime::Channel::Call call) {
        host_ += round_trip_;
        service_.clock += round_trip_ / 2;  // when it answers
        dispatch(service_, std::move(call));
        service_.clock += round_trip_ / 2;
    }};
    runtime::GuestClient client_{pair_.client};
    HeldClock clock_;
    std::shared_ptr<GuestClock> guest_clock_ =
        GuestClock::create(clock_, client_, [this] { return host_; });
};

TEST_F(GuestClockTest, R31_AClockThatIsBehindIsCorrectedAtOnce) {
    run();
    EXPECT_LT(host_ - service_.clock, milliseconds(5));
    EXPECT_GT(host_ - service_.clock, milliseconds(-5));
}

TEST_F(GuestClockTest, R31_AHostThatSleptIsCaughtUpWith) {
    run();
    host_ += seconds(3600);
    next();
    EXPECT_LT(host_ - service_.clock, milliseconds(5));
    EXPECT_GT(host_ - service_.clock, milliseconds(-5));
}

TEST_F(GuestClockTest, AClockThatAgreesIsComparedLessAndLessOften) {
    run();
    EXPECT_EQ(clock_.delay, seconds(1));
    for (const int period : {2, 4, 8, 16, 32, 64, 64}) {
        next();
        EXPECT_EQ(clock_.delay, seconds(period));
    }
    host_ += milliseconds(20);
    next();
    EXPECT_EQ(clock_.delay, seconds(1));
}

TEST_F(GuestClockTest, ARoundTripThatTakesLongCountsForNothing) {
    round_trip_ = milliseconds(500);
    run();
    EXPECT_EQ(host_ - service_.clock, milliseconds(700));
    EXPECT_EQ(clock_.delay, GuestClock::kPeriodMin);
    round_trip_ = milliseconds(2);
    next();
    EXPECT_LT(host_ - service_.clock, milliseconds(5));
}

TEST_F(GuestClockTest, AGuestThatRefusesIsAskedRarely) {
    service_.error = "no clock";
    run();
    EXPECT_EQ(clock_.delay, GuestClock::kPeriodMax);
}

}  // namespace
}  // namespace pepita::shim
