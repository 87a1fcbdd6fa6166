#pragma once

#include "compute/cli/command_line.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {

// Each does what its command asked for, and gives the exit status.
Result<int> run(const Command& command);
Result<int> batch(const Command& command);
Result<int> top(const Command& command);

}  // namespace pepita::compute::cli
