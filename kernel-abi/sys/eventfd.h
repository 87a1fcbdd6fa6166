#pragma once

#include <cstdint>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// A counter to signal and to wait for, non-blocking. Errors: eventfd(2)'s.
Result<Fd> create_eventfd();

/// Adds one, which wakes whoever waits. Never blocks: a counter that is full is signalled anyway.
void signal_eventfd(FdRef eventfd);

/// Takes what was added since the last time; 0 where nothing was.
std::uint64_t drain_eventfd(FdRef eventfd);

}  // namespace pepita
