#pragma once

#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// In the child, in the container's root: the nodes and links that every container has (OCI
/// config-linux.md, "Default Devices" and "Default Filesystems"), and those of the spec. The
/// default ones are left out where /dev is read-only.
/// Errors: name the path; FailedPrecondition where the image has something else of a node's name.
Result<void> make_devices(const std::vector<DeviceSpec>& devices);

}  // namespace pepita::runtime::container
