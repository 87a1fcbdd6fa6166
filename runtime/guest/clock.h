#pragma once

#include <chrono>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {

/// Steps CLOCK_REALTIME by `offset`, in one system call; 0 leaves it alone. Gives the time after
/// that, since 1970. Errors: clock_adjtime(2)'s.
Result<std::chrono::nanoseconds> step_clock(std::chrono::nanoseconds offset);

}  // namespace pepita::runtime::guest
