#pragma once

#include <cstdint>

#include "kernel-abi/sys/result.h"
#include "shim/isolation.h"

namespace pepita::shim {

/// The capabilities, as bits, that a shim keeps while a pod of this kind runs.
std::uint64_t kept_capabilities(Isolation isolation);

/// Gives up for good all other capabilities, the way back to them (the bounding set,
/// no_new_privs), and every system call that neither the shim nor a program that it starts from now
/// on needs: another one ends the process. For a process of one thread whose machine, or agent, has
/// been started, before anything is read that it says.
/// Errors: the kernel's; Unsupported where it has no seccomp.
Result<void> confine(Isolation isolation);

/// Its first half, with any capabilities.
Result<void> keep_capabilities(std::uint64_t kept);

}  // namespace pepita::shim
