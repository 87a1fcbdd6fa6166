#include "runtime/guest/clock.h"

#include <sys/timex.h>
#include <time.h>

#include <cerrno>
#include <chrono>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {

Result<std::chrono::nanoseconds> step_clock(std::chrono::nanoseconds offset) {
    if (offset.count() != 0) {
        const auto seconds = std::chrono::floor<std::chrono::seconds>(offset);
        timex step{};
        step.modes = ADJ_SETOFFSET | ADJ_NANO;
        step.time.tv_sec = seconds.count();
        step.time.tv_usec = (offset - seconds).count();  // nanoseconds, never negative
        if (::clock_adjtime(CLOCK_REALTIME, &step) < 0) {
            return Error::from_errno(errno, "set the clock");
        }
    }
    timespec now{};
    (void)::clock_gettime(CLOCK_REALTIME, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace pepita::runtime::guest
