#pragma once

#include <memory>
#include <string_view>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/shim_link.h"
#include "runtime/state.h"
#include "runtime/store.h"

namespace pepita::runtime::cli {

/// The shim of a container that was made before, or null where none answers.
/// Errors: NotFound "container 'x' does not exist".
Result<std::unique_ptr<ShimLink>> connect(EventLoop& loop, FdRef directory);

/// The same for a command's container. Errors: FailedPrecondition "container not running" where no
/// shim answers.
Result<std::unique_ptr<ShimLink>> connect_running(EventLoop& loop, const Command& command);

/// A container as it is now: what its shim says, or, where there is none, what it wrote: such a
/// container is stopped, whatever that says.
Result<ContainerState> observe(EventLoop& loop, const oci::ContainerStore& store,
                               std::string_view id, Deadline deadline);

}  // namespace pepita::runtime::cli
