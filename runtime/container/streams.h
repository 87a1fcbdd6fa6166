#pragma once

#include <sys/types.h>

#include <initializer_list>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/engine.h"

namespace pepita::runtime::container {

/// Closes every descriptor but 0, 1, 2 and these. A child begins with it: what its parent has open
/// (control sockets and pipes of other containers, cgroup directories) must neither live on in it
/// nor be reachable through /proc/self/fd.
void close_all_but(std::initializer_list<FdRef> kept);

/// The container's own /dev/null for reading and writing.
/// Errors: FailedPrecondition where that is something else.
Result<Fd> open_null();

/// Makes these the descriptors 0, 1 and 2, with the container's /dev/null (or `spare_null`, where
/// it has none) in place of a missing one, and gives pipes, sockets and terminals to `owner`, who
/// could not open /dev/stdout otherwise.
Result<void> place_stdio(Stdio stdio, const Fd& spare_null, uid_t owner);

}  // namespace pepita::runtime::container
