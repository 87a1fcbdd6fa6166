#pragma once

#include <string>

#include "cri/api/cri.h"

namespace pepita::cri {

/// OCI's linux.resources of CRI's: what an update of a container takes. A limit of 0 is none that
/// is named, and is left out. The score for the OOM killer is not among them.
std::string oci_resources_json(const v1::LinuxContainerResources& resources);

/// The cgroup of a microVM's processes, below the one that the kubelet made for the pod: that may
/// have no processes beside groups. None ("") where it made none. The kubelet limits the pod's
/// memory to what its containers may have and what its RuntimeClass counts as overhead: without an
/// overhead no machine can live in there, and the cgroup is beside it, in that of the pod's QoS
/// class.
std::string microvm_cgroup(const v1::LinuxPodSandboxConfig& pod, const std::string& id);

}  // namespace pepita::cri
