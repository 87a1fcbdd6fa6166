#pragma once

#include <span>
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

/// Ends what runs on the host, with its groups, of a shim that was killed; `cgroups` are those of a
/// state. Waits for it, a few seconds at most.
void end_left_containers(std::span<const std::string> cgroups);

/// "container is being created; ..."
Error being_created();

}  // namespace pepita::runtime::cli
