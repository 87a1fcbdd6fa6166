#pragma once

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// OCI's process.user.
Result<runtime::oci::OrderedJson> user_json(const v1::LinuxContainerSecurityContext& security,
                                            const ImageConfig& image);

}  // namespace pepita::cri
