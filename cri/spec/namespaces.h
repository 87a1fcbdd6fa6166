#pragma once

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// An object with OCI's linux.namespaces, and what belongs to them.
Result<runtime::oci::OrderedJson> namespaces_json(const v1::LinuxContainerSecurityContext& security,
                                                  const ContainerPlace& place);

}  // namespace pepita::cri
