#pragma once

#include <span>
#include <string>

namespace pepita::compute {

/// What of the program `pepita` is compute's: `task ...`, without the program's name. Prints, and
/// gives the exit status. The process ignores SIGPIPE and has one thread.
int task_main(std::span<const std::string> arguments);

}  // namespace pepita::compute
