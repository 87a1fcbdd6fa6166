#pragma once

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// In the child, just before execve(2): limits, groups, user, capabilities, umask and
/// no_new_privs, in the order in which each is still permitted. Errors: name the thing.
Result<void> apply_credentials(const ProcessSpec& spec);

}  // namespace pepita::runtime::container
