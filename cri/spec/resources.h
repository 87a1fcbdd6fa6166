#pragma once

#include "cri/api/cri.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// OCI's linux.resources: what cri/resources.h gives as text.
runtime::oci::OrderedJson resources_json(const v1::LinuxContainerResources& resources);

}  // namespace pepita::cri
