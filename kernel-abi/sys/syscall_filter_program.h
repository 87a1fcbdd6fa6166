#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita {

/// What happens to a system call.
struct SyscallAction {
    enum class Kind : std::uint8_t { KillThread, KillProcess, Trap, Errno, Trace, Allow, Log };
    Kind kind = Kind::KillThread;
    std::uint16_t value = 0;  // of Errno and Trace

    friend bool operator==(const SyscallAction&, const SyscallAction&) = default;
};

/// A condition on one argument.
struct SyscallComparison {
    enum class Operator : std::uint8_t {
        NotEqual,
        Less,
        LessOrEqual,
        Equal,
        GreaterOrEqual,
        Greater,
        MaskedEqual,  // argument & value == value_two
    };
    static constexpr unsigned kArgumentsMax = 6;

    unsigned argument = 0;
    Operator comparison = Operator::Equal;
    std::uint64_t value = 0;
    std::uint64_t value_two = 0;

    friend bool operator==(const SyscallComparison&, const SyscallComparison&) = default;
};

/// A filter by names: the profiles of container runtimes.
struct SyscallProfile {
    struct Rule {
        std::vector<std::string> names;  // one that libseccomp does not know is skipped
        SyscallAction action;
        std::vector<SyscallComparison> comparisons;  // all hold; several of one argument: any

        friend bool operator==(const Rule&, const Rule&) = default;
    };
    SyscallAction default_action;
    /// "x86", "x32", ...; x86_64 is always there. A call of one that is not there kills.
    std::vector<std::string> architectures;
    std::vector<Rule> rules;

    friend bool operator==(const SyscallProfile&, const SyscallProfile&) = default;
};

/// Whether libseccomp has an architecture of that name ("x86_64", "aarch64").
bool is_syscall_architecture(const std::string& name);

/// The program (sock_filter[]) of a profile for x86-64. As runc does: a call that is newer than all
/// that the profile names fails with ENOSYS, not as the default action has it, unless that allows.
/// Architectures that x86-64 does not run are left out.
/// Errors: name the system call that libseccomp refuses and its reason; InvalidArgument for more
/// instructions than the kernel takes.
Result<std::string> compile(const SyscallProfile& profile);

}  // namespace pepita
