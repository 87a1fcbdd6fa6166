#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/uapi/kvm.h"

namespace pepita::vmm {

/// Which processor of how many a table is for. Every one is a core of its own, all in one package.
struct Processor {
    std::uint32_t apic_id = 0;
    std::uint32_t count = 1;
    bool has_deadline_timer = true;
};

/// What the guest's CPUID shows: what KVM supports, less what we do not virtualise, with the
/// topology of our machine in place of the host's.
/// Source: Intel SDM 2A CPUID; AMD APM 3 appendix E.
std::vector<abi::kvm::CpuidEntry> guest_cpuid(std::span<const abi::kvm::CpuidEntry> supported,
                                              const Processor& processor);

}  // namespace pepita::vmm
