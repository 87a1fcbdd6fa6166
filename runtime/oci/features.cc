#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/bundle.h"
#include "runtime/oci/linux_json.h"
#include "runtime/oci/names.h"
#include "runtime/oci/seccomp_json.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime {
namespace {

using oci::OrderedJson;

OrderedJson capabilities() {
    OrderedJson names = OrderedJson::array();
    for (const std::string_view name : oci::capability_names()) {
        names.push_back(name);
    }
    return names;
}

OrderedJson namespaces() {
    OrderedJson names = OrderedJson::array();
    for (const oci::NamespaceType& type : oci::namespace_types()) {
        names.push_back(type.name);
    }
    return names;
}

OrderedJson names_of(const std::vector<std::string_view>& names) {
    OrderedJson out = OrderedJson::array();
    for (const std::string_view name : names) {
        out.push_back(name);
    }
    return out;
}

OrderedJson mount_options() {
    OrderedJson names(oci::bind_options());
    for (const oci::MountFlag& flag : oci::mount_flags()) {
        names.push_back(flag.name);
    }
    return names;
}

}  // namespace

std::string features_json(std::string_view version) {
    const OrderedJson off{{"enabled", false}};
    OrderedJson linux{{"namespaces", namespaces()},
                      {"capabilities", capabilities()},
                      {"cgroup",
                       {{"v1", false},
                        {"v2", true},
                        {"systemd", false},
                        {"systemdUser", false},
                        {"rdma", false}}},
                      {"seccomp",
                       {{"enabled", true},
                        {"actions", names_of(oci::seccomp_actions())},
                        {"operators", names_of(oci::seccomp_operators())},
                        {"archs", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}},
                        {"knownFlags", names_of(oci::seccomp_flags())},
                        {"supportedFlags", names_of(oci::seccomp_flags())}}},
                      {"apparmor", off},
                      {"selinux", off},
                      {"intelRdt", off},
                      {"mountExtensions", {{"idmap", off}}}};
    const OrderedJson features{{"ociVersionMin", "1.0.0"},
                               {"ociVersionMax", "1.2.0"},
                               {"hooks",
                                {"prestart", "createRuntime", "createContainer", "startContainer",
                                 "poststart", "poststop"}},
                               {"mountOptions", mount_options()},
                               {"linux", std::move(linux)},
                               {"annotations", {{"pepita.version", version}}},
                               {"potentiallyUnsafeConfigAnnotations", OrderedJson::array()}};
    return oci::dump(features, 2) + "\n";
}

}  // namespace pepita::runtime
