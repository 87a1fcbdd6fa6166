#include "runtime/pod_role.h"

#include <array>
#include <map>
#include <string>

namespace pepita::runtime {
namespace {

struct Names {
    const char* type;
    const char* pod;
};

// containerd pkg/cri/annotations; cri-o pkg/annotations.
constexpr std::array kCallers{
    Names{.type = "io.kubernetes.cri.container-type", .pod = "io.kubernetes.cri.sandbox-id"},
    Names{.type = "io.kubernetes.cri-o.ContainerType", .pod = "io.kubernetes.cri-o.SandboxID"}};

}  // namespace

PodRole pod_role(const std::map<std::string, std::string>& annotations) {
    for (const Names& caller : kCallers) {
        const auto type = annotations.find(caller.type);
        const auto pod = annotations.find(caller.pod);
        if (type == annotations.end()) {
            continue;
        }
        if (type->second == "sandbox") {
            return {.kind = PodRole::Kind::Pod, .pod = {}};
        }
        if (type->second == "container" && pod != annotations.end() && !pod->second.empty()) {
            return {.kind = PodRole::Kind::Member, .pod = pod->second};
        }
    }
    return {};
}

}  // namespace pepita::runtime
