#pragma once

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {

/// config-linux.md: fills what of `container` stands under "linux".
Result<void> read_linux(const Object& linux, ContainerSpec& container);

/// config.md, "Mounts".
Result<std::vector<MountSpec>> read_mounts(const Node& node);

}  // namespace pepita::runtime::oci
