#pragma once

#include <cstdint>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// CLONE_NEW* of the spec for clone3(2), without CLONE_NEWCGROUP: a cgroup namespace begins at the
/// cgroup that its maker is in, so the child makes it once it is in its own.
std::uint64_t clone_flags(const NamespacesSpec& namespaces);

/// Brings "lo" of the current network namespace up.
Result<void> raise_loopback();

}  // namespace pepita::runtime::container
