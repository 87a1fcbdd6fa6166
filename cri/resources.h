#pragma once

#include <string>

#include "cri/api/cri.h"

namespace pepita::cri {

/// OCI's linux.resources of CRI's: what an update of a container takes. A limit of 0 is none that
/// is named, and is left out. The score for the OOM killer is not among them.
std::string oci_resources_json(const v1::LinuxContainerResources& resources);

}  // namespace pepita::cri
