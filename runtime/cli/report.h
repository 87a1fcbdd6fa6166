#pragma once

#include <string>
#include <string_view>

#include "runtime/cli/command_line.h"

namespace pepita::runtime::cli {

/// One line on standard error, and in the log where there is one:
/// "pepita-run: start 'web': MESSAGE". Control characters in it are shown, not obeyed.
void report(const Command& command, std::string_view message);

/// One line on standard error that is no error: "pepita-run: MESSAGE".
void say(std::string_view message);

/// All of `text` to standard output. Whether it got there.
bool print(std::string_view text);

}  // namespace pepita::runtime::cli
