#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// What a process of a container is held to besides its own specification. The same for every
/// process of the container.
struct Confinement {
    std::optional<SeccompSpec> seccomp;
    std::optional<std::uint32_t> personality;
};
inline Confinement confinement_of(const ContainerSpec& spec) {
    return {.seccomp = spec.seccomp, .personality = spec.personality};
}

/// Raises the hard limits of a process that are lower than `limits` has them; 0: the caller's own.
/// Root of a user namespace may not.
Result<void> raise_rlimits(const std::vector<Rlimit>& limits, pid_t pid);

/// In the child, just before execve(2): working directory, security labels (Unsupported where this
/// kernel lacks the module or the profile), personality, limits, scheduling, groups, user,
/// capabilities, umask (0022 where none is asked for), no_new_privs and the filter of system calls,
/// in the order in which each is still permitted. As runc does, the filter comes last; where
/// no_new_privs is not asked for, capset(2) alone follows it. Without capabilities in `spec` the
/// process has none. Errors: name the thing.
Result<void> apply_credentials(const ProcessSpec& spec, const Confinement& confinement);

}  // namespace pepita::runtime::container
