#pragma once

#include <span>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/user_namespace.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {

/// config-linux.md: fills what of `bundle` stands under "linux".
Result<void> read_linux(const Object& linux, Bundle& bundle);

/// Its "namespaces", with the mappings and offsets of new ones.
Result<void> read_namespaces(const Object& linux, Bundle& bundle);

/// A list of mappings by its name; empty where there is none.
Result<std::vector<IdMapping>> read_mappings(const Object& parent, std::string_view name);

/// Its "resources"; the cpuset is `bundle`'s.
Result<ResourcesSpec> read_resources(const Object& resources, Bundle& bundle);

/// config-linux.md, "Control groups".
Result<ResourcesSpec> read_resources(const Object& resources);

/// config.md, "Mounts".
Result<std::vector<MountSpec>> read_mounts(const Node& node);

/// Options of bind mounts that are no flags of mount(2).
std::span<const std::string_view> bind_options();

/// The types of namespaces that a container can have, in the order of the alphabet.
struct NamespaceType {
    std::string_view name;
    bool NamespacesSpec::* flag;
};
std::span<const NamespaceType> namespace_types();

}  // namespace pepita::runtime::oci
