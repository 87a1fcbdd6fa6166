#pragma once

#include <string>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "shim/containerd/command_line.h"

namespace pepita::shim::containerd {

/// The descriptor that the serving process inherits: its listening socket.
inline constexpr int kListenerNumber = 3;

/// Starts the process that serves a new pod, or finds the one of the pod that the bundle's
/// container is a member of. `input`: containerd's, see BootstrapParams. Gives what is to be
/// printed.
Result<std::string> start(const CommandLine& line, std::string_view input);

/// Removes what a killed shim has left of a container. Gives what is to be printed.
Result<std::string> remove(const CommandLine& line);

}  // namespace pepita::shim::containerd
