#pragma once

#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {

/// `linux.seccomp`, compiled. Errors: name the member; Unsupported for SCMP_ACT_NOTIFY.
Result<SeccompSpec> read_seccomp(const Node& node);

/// What it takes, by name, for `features`.
std::vector<std::string_view> seccomp_actions();
std::vector<std::string_view> seccomp_operators();
std::vector<std::string_view> seccomp_flags();

}  // namespace pepita::runtime::oci
