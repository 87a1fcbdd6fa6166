#pragma once

#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// What the processes of a cgroup (v2) have used. The files of a controller that it lacks count
/// as 0.
Result<ContainerStats> read_stats(const std::string& directory);

}  // namespace pepita::runtime::container
