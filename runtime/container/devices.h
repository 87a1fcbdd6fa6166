#pragma once

#include <optional>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// In the child, in the container's root: the nodes and links that every container has (OCI
/// config-linux.md, "Default Devices" and "Default Filesystems"), and those of the spec. The
/// default ones are left out where /dev is read-only.
/// In a user namespace, where no node can be made, they are bound from `nodes_of`, the old root.
/// Errors: name the path; Unsupported for one that the old root lacks; FailedPrecondition where the
/// image has something else of a node's name.
Result<void> make_devices(const std::vector<DeviceSpec>& devices, std::optional<FdRef> nodes_of);

}  // namespace pepita::runtime::container
