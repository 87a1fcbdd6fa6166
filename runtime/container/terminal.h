#pragma once

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// A terminal of the container's own devpts as descriptors 0, 1 and 2 and as the controlling
/// terminal of this session's leader, with the window size and the user of `spec`. Gives its
/// master. Errors: FailedPrecondition where /dev/pts is no devpts.
Result<Fd> open_terminal(const ProcessSpec& spec);

/// Makes the terminal that is descriptor 0 the container's /dev/console.
Result<void> bind_console();

}  // namespace pepita::runtime::container
