#pragma once

#include <sys/types.h>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

/// What does a cgroup's work for a container that has none but has a pid namespace, through /proc.

/// Sends `signal` to the process behind `pidfd`, which is a namespace's first, and to all others of
/// that namespace. One that is over is fine.
Result<void> signal_pid_namespace(FdRef pidfd, pid_t pid, int signal);

/// Kills the process behind `pidfd` (and with it its pid namespace) and waits, at most five
/// seconds, until it is over. It stays to be reaped.
Result<void> kill_and_wait(FdRef pidfd);

/// Whether the process behind `pidfd` is over, reaped or not.
bool is_over(FdRef pidfd);

}  // namespace pepita::runtime::container
