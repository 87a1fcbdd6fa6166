#pragma once

#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/cli/shim_link.h"

namespace pepita::runtime::cli {

/// What becomes of the shim once a container is deleted.
enum class ShimEnd : bool { Ends, Stays };

/// Has the shim of a container delete it, and waits for the shim's end where it was the pod's last.
/// `by_force`: a process that runs is killed, and a creation is ended, first. Errors:
/// FailedPrecondition without force.
Result<ShimEnd> remove_by_shim(ShimLink& link, const std::string& id, bool by_force);

/// "container is being created; ..."
Error being_created();

}  // namespace pepita::runtime::cli
