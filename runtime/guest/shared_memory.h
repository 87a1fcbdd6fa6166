#pragma once

#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::guest {

/// Puts in place of each tmpfs of `spec` whose source is "pod:NAME" the one of that name, which is
/// made below `directory` for the first container that has it, as that asks for, and stays.
/// Errors: name the mount.
Result<void> share_memory(ContainerSpec& spec, const std::string& directory);

}  // namespace pepita::runtime::guest
