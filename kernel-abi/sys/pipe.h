#pragma once

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// Both ends wait, and close at exec.
struct Pipe {
    Fd read;
    Fd write;
};

/// Errors: pipe2(2)'s.
Result<Pipe> make_pipe();

}  // namespace pepita
