#include "shim/guest_clock.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest_api.h"
#include "shim/clock.h"

namespace pepita::shim {

using std::chrono::nanoseconds;
using std::chrono::seconds;

nanoseconds host_time() { return std::chrono::system_clock::now().time_since_epoch(); }

std::shared_ptr<GuestClock> GuestClock::create(Clock& clock, runtime::GuestClient& guest, Now now) {
    return std::shared_ptr<GuestClock>(new GuestClock(clock, guest, std::move(now)));
}

void GuestClock::compare() { adjust(nanoseconds(0)); }

void GuestClock::adjust(nanoseconds offset) {
    next_.reset();
    guest_.adjust_clock(offset,
                        [weak = weak_from_this(), sent = now_()](Result<nanoseconds> guest_time) {
                            if (const auto self = weak.lock()) {
                                self->on_answer(sent, std::move(guest_time));
                            }
                        });
}

void GuestClock::on_answer(nanoseconds sent, Result<nanoseconds> guest_time) {
    if (!guest_time && guest_time.error().code() == Code::Unavailable) {
        return;  // the link has ended, and the pod with it
    }
    if (!guest_time) {
        log::warn("the guest's clock is not compared", {{"error", guest_time.error().message()}});
        return compare_after(kPeriodMax);
    }
    const nanoseconds received = now_();
    if (received < sent || received - sent > kRoundTripMax) {
        return compare_after(kPeriodMin);
    }
    const nanoseconds offset = sent + ((received - sent) / 2) - *guest_time;
    if (offset > -kOffsetMax && offset < kOffsetMax) {
        is_adjusted_ = false;
        compare_after(period_);
        period_ = std::min(2 * period_, kPeriodMax);
        return;
    }
    period_ = kPeriodMin;
    if (std::exchange(is_adjusted_, true)) {
        is_adjusted_ = false;  // it did not help: not again at once
        return compare_after(kPeriodMin);
    }
    adjust(offset);  // and the answer is compared, too
}

void GuestClock::compare_after(seconds period) {
    next_ = clock_.after(period, [this] { compare(); });
}

Result<void> GuestClock::watch_host(EventLoop& loop) {
    host_timer_ = Fd(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!host_timer_) {
        return Error::from_errno(errno, "timerfd_create");
    }
    TRY(arm_host_timer());
    host_watch_ = TRY(loop.watch(host_timer_.ref(), EPOLLIN, [this](std::uint32_t) {
        std::uint64_t ignored = 0;
        (void)!::read(host_timer_.ref().number(), &ignored, sizeof(ignored));  // ECANCELED
        if (!arm_host_timer()) {
            host_watch_.cancel();
        }
        compare();
    }));
    return {};
}

// One that never expires, and is cancelled when the clock is set or the host wakes:
// timerfd_settime(2).
Result<void> GuestClock::arm_host_timer() {
    itimerspec never{};
    never.it_value.tv_sec = std::numeric_limits<std::int32_t>::max();
    if (::timerfd_settime(host_timer_.ref().number(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
                          &never, nullptr) != 0) {
        return Error::from_errno(errno, "timerfd_settime");
    }
    return {};
}

}  // namespace pepita::shim
