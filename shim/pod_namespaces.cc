#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "shim/container.h"
#include "shim/pod.h"

// Which namespaces of its pod a container joins.

namespace pepita::shim {
namespace {

bool is_same_file(const std::string& left, const std::string& right) {
    struct stat one{};
    struct stat two{};
    return ::stat(left.c_str(), &one) == 0 && ::stat(right.c_str(), &two) == 0 &&
           one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/// The pod's namespaces are the guest's own, which a container has that asks for no new one. But
/// its hostname is set in one of each container's.
void join_pod(const runtime::ContainerSpec& pod, std::string_view type,
              runtime::ContainerSpec& container) {
    if (type == "uts") {
        container.namespaces.uts = true;
        if (container.hostname.empty()) {
            container.hostname = pod.hostname;
        }
    }
}

}  // namespace

// A namespace of another container is named by that of its stand-in, or by the container's id.
Result<void> Pod::find_joined(runtime::Bundle& bundle) const {
    TRY(check_network(bundle.network_namespace));
    for (const auto& [id, other] : entries_) {
        if (!is_on_host() && other.container->is_pod()) {
            const auto& sysctls = other.container->bundle().container.sysctls;
            auto& own = bundle.container.sysctls;
            own.insert(own.begin(), sysctls.begin(), sysctls.end());
        }
    }
    for (const runtime::NamespacePath& joined : bundle.joined) {
        TRY(join(joined, bundle.container));
    }
    return {};
}

Result<void> Pod::check_network(const std::string& path) const {
    const auto is_network_of = [&](const auto& other) {
        const std::uint32_t pid = other.second.container->proxy_pid();
        return is_same_file(path, "/proc/" + std::to_string(pid) + "/ns/net");
    };
    if (path.empty() || path == network_ || is_same_file(path, network_) ||
        std::ranges::any_of(entries_, is_network_of)) {
        return {};
    }
    return Error(Code::Unsupported,
                 "linux.namespaces: network namespace '" + path + "' is not the pod's");
}

Result<void> Pod::join(const runtime::NamespacePath& joined,
                       runtime::ContainerSpec& container) const {
    std::string& member = joined.type == "pid"   ? container.namespaces.pid_of
                          : joined.type == "ipc" ? container.namespaces.ipc_of
                                                 : container.namespaces.uts_of;
    if (joined.path == runtime::NamespacePath::kOfPod) {
        member = is_on_host() ? runtime::kNamespacesOfPod : "";  // else the guest's own
        return {};
    }
    const auto found = std::ranges::find_if(entries_, [&](const auto& other) {
        const std::uint32_t pid = other.second.container->proxy_pid();
        return joined.path == std::string(runtime::NamespacePath::kOfContainer) + other.first ||
               is_same_file(joined.path, "/proc/" + std::to_string(pid) + "/ns/" + joined.type);
    });
    const bool is_pods = found != entries_.end() && found->second.container->is_pod();
    if (is_on_host() && joined.path.starts_with('/') && (found == entries_.end() || is_pods)) {
        member = joined.path;
        return {};
    }
    if (found == entries_.end()) {
        return Error(Code::Unsupported,
                     "linux.namespaces: '" + joined.path + "' is not the " + joined.type +
                         " namespace of a container of the same pod: a microVM cannot join it");
    }
    if (is_pods) {
        join_pod(found->second.container->bundle().container, joined.type, container);
    } else {
        member = found->first;
    }
    return {};
}

}  // namespace pepita::shim
