#pragma once

#include <string_view>

#include "kernel-abi/sys/result.h"
#include "storage/cli/command_line.h"

namespace pepita::storage::cli {

/// Does what was asked, by asking the daemon. Gives the exit status.
Result<int> perform(const Command& command);

/// All of `text` to standard output. Whether it got there.
bool print(std::string_view text);

}  // namespace pepita::storage::cli
