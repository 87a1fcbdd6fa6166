#pragma once

#include "cri/cli/node_command_line.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri::cli {

/// Does what was asked, by asking pepita-cri. Gives the exit status.
Result<int> perform(const NodeCommand& command);

}  // namespace pepita::cri::cli
