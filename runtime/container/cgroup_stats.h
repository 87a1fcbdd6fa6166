#pragma once

#include <sys/types.h>

#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// What the processes of a cgroup (v2) have used. The files of a controller that it lacks count
/// as 0.
Result<ContainerStats> read_stats(const std::string& directory);

/// Adds what only a container's first process tells: a limit, and the file system of its root.
/// Nothing of one that has ended.
void read_first_process(pid_t pid, ContainerStats& stats);

}  // namespace pepita::runtime::container
