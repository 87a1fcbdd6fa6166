#pragma once

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// OCI's `process` of a container.
Result<runtime::oci::OrderedJson> process_json(const v1::ContainerConfig& container,
                                               const ImageConfig& image,
                                               const ContainerPlace& place);

}  // namespace pepita::cri
