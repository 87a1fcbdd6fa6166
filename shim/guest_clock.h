#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest_api.h"
#include "shim/clock.h"

namespace pepita::shim {

/// Keeps a guest's clock of real time at the host's: a guest reads its own at boot with a
/// resolution of a second, and does not notice that the host slept. The offset is computed from a
/// round trip, so its error is at most half of that; one that takes too long counts for nothing.
/// Thread: that of the loop.
class GuestClock : public std::enable_shared_from_this<GuestClock> {
public:
    static constexpr std::chrono::milliseconds kRoundTripMax{40};
    static constexpr std::chrono::milliseconds kOffsetMax{5};  // a smaller one is left alone
    static constexpr std::chrono::seconds kPeriodMin{1};
    static constexpr std::chrono::seconds kPeriodMax{64};

    using Now = std::function<std::chrono::nanoseconds()>;  // since 1970

    /// `guest` outlives it.
    static std::shared_ptr<GuestClock> create(Clock& clock, runtime::GuestClient& guest, Now now);

    /// Compares the clocks now, and after a period that doubles while they agree.
    void compare();

    /// Compares when the host's clock is set, or the host wakes.
    Result<void> watch_host(EventLoop& loop);

private:
    GuestClock(Clock& clock, runtime::GuestClient& guest, Now now)
        : clock_(clock), guest_(guest), now_(std::move(now)) {}
    void adjust(std::chrono::nanoseconds offset);
    void on_answer(std::chrono::nanoseconds sent, Result<std::chrono::nanoseconds> guest_time);
    void compare_after(std::chrono::seconds period);
    Result<void> arm_host_timer();

    Clock& clock_;
    runtime::GuestClient& guest_;
    Now now_;
    std::chrono::seconds period_ = kPeriodMin;
    bool is_adjusted_ = false;  // by the last request
    std::unique_ptr<Clock::Deadline> next_;
    Fd host_timer_;
    EventLoop::Watch host_watch_;
};

/// The host's time.
std::chrono::nanoseconds host_time();

}  // namespace pepita::shim
