#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/credentials.h"

namespace pepita::runtime::container {

/// Runs the hooks one after the other, in the container and with the credentials of `process`, as
/// children of the caller. `state` is the input of each; its first member is "pid":0. What they
/// print is part of the error. While one runs, Working is sent over `control`.
/// Errors: name the hook; NotFound for a program that the container does not have;
/// DeadlineExceeded.
Result<void> run_hooks(std::string_view kind, const std::vector<HookSpec>& hooks,
                       const std::string& state, const ProcessSpec& process,
                       const Confinement& confinement, FdRef control);

/// The credentials of hooks that prepare the container: its root, with what its processes may have.
ProcessSpec preparing(ProcessSpec process);

}  // namespace pepita::runtime::container
