#pragma once

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::shim {

/// A pseudo-terminal whose slave passes bytes untouched: the line discipline is the guest's.
struct Pty {
    Fd master;
    Fd slave;  // non-blocking
};
Result<Pty> open_pty(runtime::WindowSize window);

/// A descriptor of the same pipe or terminal that does not wait, without a change to the client's
/// own. Regular files and sockets need none and are given back as they came.
Result<Fd> nonblocking_twin(Fd fd);

/// Reports the sizes of a terminal that changes, from the child process that has it as its
/// controlling terminal (only such a one is told): runs until the parent goes.
[[noreturn]] void report_window_sizes(FdRef terminal, FdRef sizes);

}  // namespace pepita::shim
