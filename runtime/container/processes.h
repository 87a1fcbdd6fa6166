#pragma once

#include <sys/types.h>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

/// What does a cgroup's work for a container that has none but has a pid namespace, through /proc.

/// Sends `signal` to the process behind `pidfd`, which is a namespace's first, and to all others of
/// that namespace. One that is over is fine.
Result<void> signal_pid_namespace(FdRef pidfd, pid_t pid, int signal);

/// Kills the process behind `pidfd`, and with it the pid namespace whose first it is.
void kill_process(FdRef pidfd);

/// Whether the process behind `pidfd` has exited, reaped or not.
bool has_exited(FdRef pidfd);

}  // namespace pepita::runtime::container
