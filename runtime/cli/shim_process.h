#pragma once

#include <span>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"

namespace pepita::runtime::cli {

/// A shim that we have started, and our end of the socket on which it serves the task API.
struct ShimProcess {
    Child process;
    Fd socket;
};

/// Starts pepita-shim in a session of its own, to outlive us. It has open: /dev/null, as standard
/// error the log file if one was asked for, and the socket as kShimSocketNumber. It is in the
/// host's `cgroups`, and so is all that it starts. Errors: NotFound where there is no program,
/// naming where it was looked for.
Result<ShimProcess> start_shim(const Command& command, std::span<const std::string> cgroups);

/// The program: --shim; else beside this one; else in our libexec directory; else in PATH.
Result<std::string> find_shim(const Command& command);

}  // namespace pepita::runtime::cli
