#pragma once

#include <string>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// An object with OCI's linux.namespaces, and what belongs to them.
Result<runtime::oci::OrderedJson> namespaces_json(const v1::LinuxContainerSecurityContext& security,
                                                  const ContainerPlace& place);

/// Whether containers have a user namespace of their own. `member`: the name of the options.
/// Errors: InvalidArgument for a mode or for mappings that CRI does not have.
Result<bool> has_user_namespace(const v1::NamespaceOption& options, const std::string& member);

/// OCI's list of mappings.
runtime::oci::OrderedJson id_mappings_json(
    const google::protobuf::RepeatedPtrField<v1::IDMapping>& mappings);

}  // namespace pepita::cri
