#pragma once

#include <span>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {

/// config-linux.md: fills what of `container` stands under "linux".
Result<void> read_linux(const Object& linux, ContainerSpec& container);

/// config-linux.md, "Control groups".
Result<ResourcesSpec> read_resources(const Object& resources);

/// config.md, "Mounts".
Result<std::vector<MountSpec>> read_mounts(const Node& node);

/// The types of namespaces that a container can have, in the order of the alphabet.
struct NamespaceType {
    std::string_view name;
    bool NamespacesSpec::* flag;
};
std::span<const NamespaceType> namespace_types();

}  // namespace pepita::runtime::oci
