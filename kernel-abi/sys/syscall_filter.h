#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernel-abi/sys/result.h"

namespace pepita {

/// A system call that a thread may make, by its number (SYS_*), and under which condition: the
/// bits of argument `argument` under `mask` equal `value`.
struct SyscallRule {
    struct Condition {
        unsigned argument = 0;
        std::uint64_t mask = ~std::uint64_t{0};
        std::uint64_t value = 0;
    };
    long number = 0;
    std::optional<Condition> only_if;
};

enum class FilterScope : std::uint8_t {
    Thread,   // the calling thread and those it starts
    Process,  // every thread that there is, too
};

/// From now on any other system call ends the process (SIGSYS). Cannot be undone; sets
/// no_new_privs. Filters add up: what any of them forbids is forbidden.
/// Errors: Unsupported where the kernel has no seccomp; InvalidArgument for an argument beyond the
/// sixth.
Result<void> allow_only(std::span<const SyscallRule> rules, FilterScope scope);

}  // namespace pepita
