#pragma once

#include <chrono>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::vmm {

/// What /dev/kvm is good for.
struct KvmProbe {
    /// How long the guest's kernel mode takes for an instruction, on average.
    std::chrono::nanoseconds per_instruction{};

    /// Slower than this, kernel mode is interpreted (PVM), and Linux would seem to hang.
    static constexpr std::chrono::nanoseconds kUsable{100};
    bool is_usable() const { return per_instruction <= kUsable; }
};

/// Runs 1000 instructions at ring 0 in a machine of its own, up to eight times, and takes the best:
/// CPUID says nothing about a KVM that a host lends. Takes milliseconds; gives up after 2 seconds
/// (an exit of a nested guest under TCG takes 5 ms). Errors: what open(2) or KVM says, naming the
/// file or the call (NotFound, PermissionDenied); DeadlineExceeded where the guest does not come
/// back.
Result<KvmProbe> probe_kvm(const char* device = "/dev/kvm");

/// One line for `auto`: "usable", or why not.
std::string describe(const Result<KvmProbe>& probe);

}  // namespace pepita::vmm
