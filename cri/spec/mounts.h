#pragma once

#include <string>
#include <string_view>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// A path in a container as mounts and their errors spell it.
std::string normal_path(std::string_view path);

/// OCI's `mounts` of a container, in the order in which they are mounted.
Result<runtime::oci::OrderedJson> mounts_json(const v1::ContainerConfig& container,
                                              const ImageConfig& image,
                                              const ContainerPlace& place);

}  // namespace pepita::cri
