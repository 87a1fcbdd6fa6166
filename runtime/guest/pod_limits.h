#pragma once

#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::guest {

/// Holds all containers together, which are below `cgroup`, to the limits of memory and CPUs that
/// `limits` has: of the guest's CPUs, which `sys`/devices/system/cpu lists, as many are online as
/// the quota needs. Blocks while the kernel starts or stops a CPU.
/// Errors: OutOfRange where the machine has fewer CPUs.
Result<void> limit_pod(const ResourcesSpec& limits, const std::string& cgroup,
                       const std::string& sys);

}  // namespace pepita::runtime::guest
