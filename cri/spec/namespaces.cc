#include "cri/spec/namespaces.h"

#include <cstdint>
#include <string>
#include <utility>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "cri/spec/member.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::NamespacePath;
using runtime::oci::OrderedJson;

constexpr const char* kMember = "linux.security_context.namespace_options.";

Error refusal_of(const char* name, v1::NamespaceMode mode) {
    return mode == v1::NODE ? unsupported(std::string(kMember) + name,
                                          "NODE: a microVM shares no namespace with the host")
                            : invalid(std::string(kMember) + name, "is no mode of this namespace");
}

// What a container asks for by no name is its guest's, or the host's.
Result<void> add_pid(const v1::NamespaceOption& options, const ContainerPlace& place,
                     OrderedJson& out) {
    const v1::NamespaceMode mode = options.pid();
    if (mode == v1::CONTAINER) {
        out.push_back({{"type", "pid"}});
    } else if (mode == v1::TARGET) {
        const std::string path = std::string(NamespacePath::kOfContainer) + options.target_id();
        if (const auto checked = runtime::check_container_id(options.target_id()); !checked) {
            return invalid(std::string(kMember) + "target_id", checked.error().message());
        }
        out.push_back({{"type", "pid"}, {"path", path}});
    } else if (mode == v1::POD) {
        if (place.is_on_host) {
            out.push_back({{"type", "pid"}, {"path", NamespacePath::kOfPod}});
        }
    } else if (mode != v1::NODE || !place.is_on_host) {
        return refusal_of("pid", mode);
    }
    return {};
}

// Said by name, because parameters of the kernel belong to it.
Result<void> add_ipc(const v1::NamespaceOption& options, const ContainerPlace& place,
                     OrderedJson& out) {
    const v1::NamespaceMode mode = options.ipc();
    if (mode == v1::CONTAINER) {
        out.push_back({{"type", "ipc"}});
    } else if (mode == v1::POD) {
        out.push_back({{"type", "ipc"}, {"path", NamespacePath::kOfPod}});
    } else if (mode != v1::NODE || !place.is_on_host) {
        return refusal_of("ipc", mode);
    }
    return {};
}

Result<void> add_network(const v1::NamespaceOption& options, const ContainerPlace& place,
                         OrderedJson& out) {
    if (options.network() == v1::NODE && place.is_on_host) {
        return {};
    }
    if (options.network() != v1::POD) {
        return refusal_of("network", options.network());
    }
    if (!place.network_namespace.empty()) {
        out.push_back({{"type", "network"}, {"path", place.network_namespace}});
    }
    return {};
}

using IdMappings = google::protobuf::RepeatedPtrField<v1::IDMapping>;

// As the kubelet gives it: one range, with the root user in it.
Result<void> check_mappings(const IdMappings& mappings, const std::string& member) {
    if (mappings.size() != 1) {
        return invalid(member, "must be one mapping");
    }
    const v1::IDMapping& mapping = mappings.Get(0);
    if (mapping.container_id() != 0) {
        return invalid(member, "must map the container's id 0");
    }
    if (mapping.length() == 0 || mapping.host_id() > UINT32_MAX - mapping.length()) {
        return invalid(member, "must have a length, and end below 2^32 - 1");
    }
    return {};
}

}  // namespace

Result<OrderedJson> namespaces_json(const v1::LinuxContainerSecurityContext& security,
                                    const ContainerPlace& place) {
    const v1::NamespaceOption& options = security.namespace_options();
    OrderedJson namespaces =
        OrderedJson::array({{{"type", "mount"}}, {{"type", "uts"}}, {{"type", "cgroup"}}});
    TRY(add_pid(options, place, namespaces));
    TRY(add_ipc(options, place, namespaces));
    TRY(add_network(options, place, namespaces));
    OrderedJson out;
    if (TRY(has_user_namespace(options, kMember))) {
        if (place.is_on_host) {
            return unsupported(std::string(kMember) + "userns_options",
                               "a pod on the host has no user namespace");
        }
        namespaces.push_back({{"type", "user"}});
        out["uidMappings"] = id_mappings_json(options.userns_options().uids());
        out["gidMappings"] = id_mappings_json(options.userns_options().gids());
    }
    out["namespaces"] = std::move(namespaces);
    return out;
}

Result<bool> has_user_namespace(const v1::NamespaceOption& options, const std::string& member) {
    const std::string name = member + "userns_options";
    const v1::UserNamespace& user = options.userns_options();
    if (!options.has_userns_options() || (user.mode() == v1::NODE && user.uids().empty())) {
        return false;
    }
    if (user.mode() != v1::POD) {
        return invalid(name, user.mode() == v1::NODE ? "NODE has no mappings"
                                                     : "is no mode of this namespace");
    }
    TRY(check_mappings(user.uids(), name + ".uids"));
    TRY(check_mappings(user.gids(), name + ".gids"));
    return true;
}

OrderedJson id_mappings_json(const IdMappings& mappings) {
    OrderedJson out = OrderedJson::array();
    for (const v1::IDMapping& mapping : mappings) {
        out.push_back({{"containerID", mapping.container_id()},
                       {"hostID", mapping.host_id()},
                       {"size", mapping.length()}});
    }
    return out;
}

}  // namespace pepita::cri
