#pragma once

#include <cstdint>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/container.h"
#include "runtime/pod_spec.h"

namespace pepita::shim {

/// What the containers of a pod may use together.
struct PodSize {
    std::uint64_t memory_bytes = 0;
    std::uint64_t cpus = 0;

    friend bool operator==(const PodSize&, const PodSize&) = default;
};

/// The size that a pod begins with.
PodSize first_size(const runtime::PodSpec& spec);

/// The size that it may grow to: its microVM has as much from its boot. The guest's cgroup and the
/// number of CPUs that are online hold the pod to its size.
PodSize largest_size(const runtime::PodSpec& spec);

/// Has a pod whose first container has these limits boot with room for them.
void make_room(runtime::PodSpec& spec, const runtime::ResourcesSpec& first_container);

/// The guest's memory: the largest size, and what its kernel and init take beside it.
Bytes machine_memory(const runtime::PodSpec& spec);

/// `size`, with the limits that `changes` has in place of its own.
PodSize changed(PodSize size, const runtime::ResourcesSpec& changes);

/// The size of a pod with these containers: `own`, or more where their limits need it. They need
/// their sum, in which one without a limit counts as `own`; where `own` is the pod's limit, as that
/// of PodSpec::is_sized, they need the largest of them.
PodSize needed_size(const PodSize& own, bool is_sized,
                    const std::vector<runtime::ResourcesSpec>& containers);

PodSize larger(const PodSize& a, const PodSize& b);
PodSize smaller(const PodSize& a, const PodSize& b);

/// Errors: ResourceExhausted for limits that are beyond the largest size of the pod.
Result<void> check_limits(const runtime::ResourcesSpec& limits, const PodSize& largest);

/// The limits of the guest's cgroup of all containers.
runtime::ResourcesSpec to_resources(const PodSize& size);

}  // namespace pepita::shim
