#include "shim/pod_size.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/container.h"
#include "runtime/pod_spec.h"

// A machine boots with more memory than its pod may use, and not with virtio-mem: memory that no
// page of was touched costs the host 17 MiB per GiB, for the guest's page structs, and no time
// (README.md has the numbers). Virtual CPUs that are offline cost next to nothing.

namespace pepita::shim {
namespace {

using runtime::PodSpec;
using runtime::ResourcesSpec;

constexpr unsigned kMebibyteShift = 20;
constexpr std::uint64_t kPeriodUs = 100'000;
// Measured: 34 MiB, and 17 to 19 for each GiB.
constexpr std::uint64_t kGuestMib = 64;
constexpr std::uint64_t kGuestShare = 48;

/// 0: none.
std::uint64_t memory_of(const ResourcesSpec& limits) {
    const std::int64_t bytes = limits.memory_limit_bytes.value_or(0);
    return bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

/// 0: no limit.
std::uint64_t cpus_of(const ResourcesSpec& limits) {
    const std::int64_t quota = limits.cpu_quota_us.value_or(0);
    const std::uint64_t period = limits.cpu_period_us.value_or(0);
    if (quota <= 0) {
        return 0;
    }
    const std::uint64_t by = period == 0 ? kPeriodUs : period;
    return (static_cast<std::uint64_t>(quota) - 1) / by + 1;
}

std::uint64_t to_mib(std::uint64_t bytes) {
    return (bytes >> kMebibyteShift) +
           static_cast<std::uint64_t>((bytes & ((1U << kMebibyteShift) - 1)) != 0);
}

std::uint64_t sum_of(std::uint64_t a, std::uint64_t b) {
    return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

Error too_large(const std::string& limit, std::uint64_t largest, const std::string& unit) {
    return {Code::ResourceExhausted, limit + ": the pod's microVM has booted with room for " +
                                         std::to_string(largest) + " " + unit};
}

}  // namespace

PodSize first_size(const PodSpec& spec) {
    return {.memory_bytes = spec.memory_mib << kMebibyteShift, .cpus = spec.vcpus};
}

PodSize largest_size(const PodSpec& spec) {
    return larger(first_size(spec),
                  {.memory_bytes = spec.memory_max_mib << kMebibyteShift, .cpus = spec.vcpus_max});
}

void make_room(PodSpec& spec, const ResourcesSpec& first_container) {
    spec.memory_max_mib = std::min(
        std::max(spec.memory_max_mib, to_mib(memory_of(first_container))), PodSpec::kMemoryMibMax);
    spec.vcpus_max =
        std::min(std::max(spec.vcpus_max, cpus_of(first_container)), PodSpec::kVcpusMax);
}

Bytes machine_memory(const PodSpec& spec) {
    const std::uint64_t pod = to_mib(largest_size(spec).memory_bytes);
    return Bytes(std::min(pod + kGuestMib + pod / kGuestShare, PodSpec::kMemoryMibMax)
                 << kMebibyteShift);
}

PodSize changed(PodSize size, const ResourcesSpec& changes) {
    if (const std::uint64_t memory = memory_of(changes); memory != 0) {
        size.memory_bytes = memory;
    }
    if (const std::uint64_t cpus = cpus_of(changes); cpus != 0) {
        size.cpus = cpus;
    }
    return size;
}

PodSize needed_size(const PodSize& own, bool is_sized,
                    const std::vector<ResourcesSpec>& containers) {
    PodSize largest;
    PodSize sum;
    bool has_any_memory = false;
    bool has_any_cpus = false;
    for (const ResourcesSpec& limits : containers) {
        const PodSize one{.memory_bytes = memory_of(limits), .cpus = cpus_of(limits)};
        largest = larger(largest, one);
        sum = {.memory_bytes = sum_of(sum.memory_bytes, one.memory_bytes),
               .cpus = sum_of(sum.cpus, one.cpus)};
        has_any_memory = has_any_memory || one.memory_bytes == 0;
        has_any_cpus = has_any_cpus || one.cpus == 0;
    }
    if (is_sized) {
        return larger(own, largest);
    }
    sum = {.memory_bytes = sum_of(sum.memory_bytes, has_any_memory ? own.memory_bytes : 0),
           .cpus = sum_of(sum.cpus, has_any_cpus ? own.cpus : 0)};
    return larger(own, sum);
}

PodSize larger(const PodSize& a, const PodSize& b) {
    return {.memory_bytes = std::max(a.memory_bytes, b.memory_bytes),
            .cpus = std::max(a.cpus, b.cpus)};
}

PodSize smaller(const PodSize& a, const PodSize& b) {
    return {.memory_bytes = std::min(a.memory_bytes, b.memory_bytes),
            .cpus = std::min(a.cpus, b.cpus)};
}

Result<void> check_limits(const ResourcesSpec& limits, const PodSize& largest) {
    if (const std::uint64_t memory = memory_of(limits); memory > largest.memory_bytes) {
        return too_large("memory.limit " + std::to_string(memory), largest.memory_bytes,
                         "B (--memory-max)");
    }
    if (const std::uint64_t cpus = cpus_of(limits); cpus > largest.cpus) {
        return too_large("cpu.quota of " + std::to_string(cpus) + " CPUs", largest.cpus,
                         "CPUs (--cpus-max)");
    }
    return {};
}

ResourcesSpec to_resources(const PodSize& size) {
    return {.memory_limit_bytes = static_cast<std::int64_t>(size.memory_bytes),
            .cpu_quota_us = static_cast<std::int64_t>(size.cpus * kPeriodUs),
            .cpu_period_us = kPeriodUs};
}

}  // namespace pepita::shim
