#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// OCI's linux.seccomp of a container that holds `capabilities` ("CAP_KILL"); nullopt where it is
/// not confined, as a privileged one never is. Reads the profile's file.
/// Errors: name the member, the file and the reason.
Result<std::optional<runtime::oci::OrderedJson>> seccomp_json(
    const v1::LinuxContainerSecurityContext& security, const ContainerPlace& place,
    const std::set<std::string>& capabilities);

/// OCI's linux.seccomp of a profile as Docker and Podman have them, which OCI's own is one of: with
/// `archMap`, and rules that depend on capabilities, architecture and kernel. Any bytes will do;
/// what the rules themselves say is left to the runtime to check.
Result<runtime::oci::OrderedJson> profile_json(std::string_view profile,
                                               const std::set<std::string>& capabilities);

}  // namespace pepita::cri
