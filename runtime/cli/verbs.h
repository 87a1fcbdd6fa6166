#pragma once

#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"

namespace pepita::runtime::cli {

/// One function per verb, in a file of its name. Each gives the program's exit status.
Result<int> run(const Command& command);
Result<int> create(const Command& command);
Result<int> start(const Command& command);
Result<int> exec(const Command& command);
Result<int> kill(const Command& command);
Result<int> remove(const Command& command);  // "delete"
Result<int> state(const Command& command);
Result<int> list(const Command& command);
Result<int> pause(const Command& command);
Result<int> resume(const Command& command);
Result<int> ps(const Command& command);
Result<int> update(const Command& command);
Result<int> events(const Command& command);
Result<int> spec(const Command& command);

}  // namespace pepita::runtime::cli
