#include "vmm/boot/cpuid.h"

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/uapi/kvm.h"

namespace pepita::vmm {
namespace {

using Entry = abi::kvm::CpuidEntry;

constexpr std::uint32_t bit(unsigned n) { return 1U << n; }

/// `value` with the bits from `low` to `high` replaced.
constexpr std::uint32_t with_bits(std::uint32_t value, unsigned low, unsigned high,
                                  std::uint32_t field) {
    const std::uint32_t mask = (bit(high - low + 1) - 1) << low;
    return (value & ~mask) | ((field << low) & mask);
}

/// How many bits of an APIC id number the cores of the package.
unsigned core_bits(std::uint32_t count) { return static_cast<unsigned>(std::bit_width(count - 1)); }

bool is_topology_leaf(std::uint32_t function) { return function == 0xb || function == 0x1f; }

bool is_dropped(const Entry& entry) {
    return is_topology_leaf(entry.function)   // ours follow
           || entry.function == 0x8000'000a;  // SVM: no guests in our guests yet
}

void set_features(Entry& entry, const Processor& processor) {
    entry.ebx = with_bits(entry.ebx, 16, 23, processor.count);
    entry.ebx = with_bits(entry.ebx, 24, 31, processor.apic_id);
    entry.ecx &= ~bit(5);            // VMX
    entry.ecx |= bit(21) | bit(31);  // x2APIC, and "there is a hypervisor"
    if (processor.has_deadline_timer) {
        entry.ecx |= bit(24);
    }
    entry.edx = processor.count > 1 ? entry.edx | bit(28) : entry.edx & ~bit(28);
}

/// Leaf 4 and AMD's 0x8000001d: only the last level of cache is shared.
void set_cache_sharing(Entry& entry, const Processor& processor) {
    const std::uint32_t level = (entry.eax >> 5U) & 7U;
    const std::uint32_t sharing = level >= 3 ? bit(core_bits(processor.count)) - 1 : 0;
    entry.eax = with_bits(entry.eax, 14, 25, sharing);
    if (entry.function == 4) {
        entry.eax = with_bits(entry.eax, 26, 31, bit(core_bits(processor.count)) - 1);
    }
}

void adapt(Entry& entry, const Processor& processor) {
    switch (entry.function) {
        case 1:
            set_features(entry, processor);
            break;
        case 4:
        case 0x8000'001d:
            set_cache_sharing(entry, processor);
            break;
        case 6:
            entry.eax &= bit(2);  // ARAT: the local timer runs on in every idle state
            entry.ecx = 0;        // no APERF and MPERF
            break;
        case 7:
            if (entry.index == 0) {
                entry.ecx &= ~bit(5);  // WAITPKG: would let a guest idle without an exit
            }
            break;
        case 0xa:  // no performance counters
            entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
            break;
        case 0x8000'0001:
            entry.ecx &= ~bit(2);  // SVM
            break;
        case 0x8000'0008:
            entry.ecx = with_bits(entry.ecx, 0, 7, processor.count - 1);
            entry.ecx = with_bits(entry.ecx, 12, 15, core_bits(processor.count));
            break;
        case 0x8000'001e:
            entry.eax = processor.apic_id;
            entry.ebx = processor.apic_id;  // core id; one thread each
            entry.ecx = 0;
            break;
        default:
            break;
    }
}

/// Levels of the x2APIC topology: threads of a core (one), cores of the package (all).
void add_topology(std::vector<Entry>& entries, const Processor& processor) {
    const Entry thread{.function = 0xb,
                       .index = 0,
                       .flags = abi::kvm::kCpuidSignificantIndex,
                       .eax = 0,
                       .ebx = 1,
                       .ecx = 0x100,  // level type SMT
                       .edx = processor.apic_id,
                       .padding = {}};
    Entry core = thread;
    core.index = 1;
    core.eax = core_bits(processor.count);
    core.ebx = processor.count;
    core.ecx = 0x201;  // level type core
    Entry end = thread;
    end.index = 2;
    end.ebx = 0;
    end.ecx = 2;
    entries.insert(entries.end(), {thread, core, end});
}

}  // namespace

std::vector<Entry> guest_cpuid(std::span<const Entry> supported, const Processor& processor) {
    std::vector<Entry> entries;
    bool has_topology = false;
    for (const Entry& entry : supported) {
        if (entry.function == 0) {
            has_topology = entry.eax >= 0xb;
        }
        if (!is_dropped(entry)) {
            entries.push_back(entry);
            adapt(entries.back(), processor);
        }
    }
    if (has_topology) {
        add_topology(entries, processor);
    }
    return entries;
}

}  // namespace pepita::vmm
