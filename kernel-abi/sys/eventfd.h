#pragma once

#include <cstdint>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// A counter to signal and to wait for, non-blocking. Errors: eventfd(2)'s.
Result<Fd> create_eventfd();

// Of our own, which nobody else holds:

/// Adds one, which wakes whoever waits. Never blocks: a counter that is full is signalled anyway.
void signal_eventfd(FdRef eventfd);

/// Takes what was added since the last time; 0 where nothing was.
std::uint64_t drain_eventfd(FdRef eventfd);

// Of others', who hold the same open file: they can make it block at any time, or fill it.

/// That it is an eventfd (or another object of the kernel's own that takes no writes): a file, a
/// pipe or a socket may wait for another program at any call. This one does not.
/// Errors: InvalidArgument.
Result<void> check_lent_eventfd(FdRef eventfd);

/// As signal_eventfd(): one that is full is left alone. Linux has no write to an eventfd that never
/// blocks: whoever fills it between our look and our write has this thread wait for itself, until
/// it is interrupted (Thread::interrupt). So a thread that calls this is never joined without that.
void signal_lent_eventfd(FdRef eventfd);

/// As drain_eventfd(), and never blocks. Errors: read(2)'s for what is no eventfd.
Result<std::uint64_t> drain_lent_eventfd(FdRef eventfd);

}  // namespace pepita
