#pragma once

#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {

/// config.md, "POSIX-platform Hooks": all six kinds.
Result<void> read_hooks(const Object& hooks, Bundle& bundle);

}  // namespace pepita::runtime::oci
