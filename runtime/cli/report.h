#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"

namespace pepita::runtime::cli {

inline constexpr mode_t kLogMode = 0600;

/// One line on standard error, and in the log where there is one:
/// "pepita-run: start 'web': MESSAGE". Control characters in it are shown, not obeyed.
void report(const Command& command, std::string_view message);

/// Makes the log's file. Errors: it cannot be written; nothing is done then.
Result<void> check_log(const Command& command);

/// One line that is no error, "run 'web': MESSAGE": in the log, and on standard error for a person:
/// if it is a terminal and `run` stays in the foreground. Else it would be in the container's own.
void note(const Command& command, std::string_view message);

/// All of `text` to standard output. Whether it got there.
bool print(std::string_view text);

}  // namespace pepita::runtime::cli
