#pragma once

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {

/// config.md, "Process".
Result<ProcessSpec> read_process(const Node& node);

/// An absolute path without "..", which could leave where it belongs.
Result<std::string> read_container_path(const Node& node);

}  // namespace pepita::runtime::oci
