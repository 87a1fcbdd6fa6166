#pragma once

#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"

namespace pepita::runtime::cli {

/// Runs the hooks that follow a container's deletion. One that fails is noted in the log, and the
/// others run: nothing is left that could be undone (runtime-spec, "Lifecycle").
void run_poststop_hooks(const Command& command, const Bundle& bundle);

}  // namespace pepita::runtime::cli
