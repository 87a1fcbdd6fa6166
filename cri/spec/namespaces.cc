#include "cri/spec/namespaces.h"

#include <string>

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

// That of the pod is its guest's own, which a container has that asks for none.
Result<void> add_pid(const v1::NamespaceOption& options, OrderedJson& out) {
    const v1::NamespaceMode mode = options.pid();
    if (mode == v1::CONTAINER) {
        out.push_back({{"type", "pid"}});
    } else if (mode == v1::TARGET) {
        const std::string path = std::string(NamespacePath::kOfContainer) + options.target_id();
        if (const auto checked = runtime::check_container_id(options.target_id()); !checked) {
            return invalid(std::string(kMember) + "target_id", checked.error().message());
        }
        out.push_back({{"type", "pid"}, {"path", path}});
    } else if (mode != v1::POD) {
        return refusal_of("pid", mode);
    }
    return {};
}

// Said by name, because parameters of the kernel belong to it.
Result<void> add_ipc(const v1::NamespaceOption& options, OrderedJson& out) {
    const v1::NamespaceMode mode = options.ipc();
    if (mode == v1::CONTAINER) {
        out.push_back({{"type", "ipc"}});
    } else if (mode == v1::POD) {
        out.push_back({{"type", "ipc"}, {"path", NamespacePath::kOfPod}});
    } else {
        return refusal_of("ipc", mode);
    }
    return {};
}

Result<void> add_network(const v1::NamespaceOption& options, const ContainerPlace& place,
                         OrderedJson& out) {
    if (options.network() != v1::POD) {
        return refusal_of("network", options.network());
    }
    if (!place.network_namespace.empty()) {
        out.push_back({{"type", "network"}, {"path", place.network_namespace}});
    }
    return {};
}

Result<void> check_user(const v1::NamespaceOption& options) {
    if (options.has_userns_options() && options.userns_options().mode() != v1::NODE) {
        return unsupported(std::string(kMember) + "userns_options",
                           "user namespaces are not supported");
    }
    return {};
}

}  // namespace

Result<OrderedJson> namespaces_json(const v1::LinuxContainerSecurityContext& security,
                                    const ContainerPlace& place) {
    const v1::NamespaceOption& options = security.namespace_options();
    OrderedJson namespaces =
        OrderedJson::array({{{"type", "mount"}}, {{"type", "uts"}}, {{"type", "cgroup"}}});
    TRY(add_pid(options, namespaces));
    TRY(add_ipc(options, namespaces));
    TRY(add_network(options, place, namespaces));
    TRY(check_user(options));
    return OrderedJson{{"namespaces", namespaces}};
}

}  // namespace pepita::cri
