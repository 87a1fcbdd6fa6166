#pragma once

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// In the child, just before execve(2): working directory, limits, groups, user, capabilities,
/// umask (0022 where none is asked for) and no_new_privs, in the order in which each is still
/// permitted. Without capabilities in `spec` the process has none. Errors: name the thing.
Result<void> apply_credentials(const ProcessSpec& spec);

}  // namespace pepita::runtime::container
