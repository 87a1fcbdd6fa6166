#pragma once

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// OCI's process.capabilities: the usual ones with those added and without those dropped, as
/// Kubernetes counts; all of them for a privileged container.
/// Errors: InvalidArgument for a name that Linux does not have.
Result<runtime::oci::OrderedJson> capabilities_json(
    const v1::LinuxContainerSecurityContext& security, const ContainerPlace& place);

}  // namespace pepita::cri
