#include "cri/resources.h"

#include <cstddef>
#include <map>
#include <string>
#include <type_traits>

#include "cri/api/cri.h"
#include "cri/spec/resources.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

using runtime::oci::OrderedJson;

OrderedJson resources_json(const v1::LinuxContainerResources& resources) {
    OrderedJson memory = OrderedJson::object();
    OrderedJson cpu = OrderedJson::object();
    const auto put = [](OrderedJson& into, const char* name, const auto& value) {
        if (value != std::decay_t<decltype(value)>()) {
            into[name] = value;
        }
    };
    put(memory, "limit", resources.memory_limit_in_bytes());
    put(memory, "swap", resources.memory_swap_limit_in_bytes());
    put(cpu, "shares", resources.cpu_shares());
    put(cpu, "quota", resources.cpu_quota());
    put(cpu, "period", resources.cpu_period());
    put(cpu, "cpus", resources.cpuset_cpus());
    put(cpu, "mems", resources.cpuset_mems());
    OrderedJson out = OrderedJson::object();
    if (!memory.empty()) {
        out["memory"] = memory;
    }
    if (!cpu.empty()) {
        out["cpu"] = cpu;
    }
    OrderedJson hugepages = OrderedJson::array();
    for (const v1::HugepageLimit& limit : resources.hugepage_limits()) {
        hugepages.push_back({{"pageSize", limit.page_size()}, {"limit", limit.limit()}});
    }
    if (!hugepages.empty()) {
        out["hugepageLimits"] = hugepages;
    }
    if (!resources.unified().empty()) {
        // In the order of the alphabet: the message's map has none.
        out["unified"] = std::map<std::string, std::string>(resources.unified().begin(),
                                                            resources.unified().end());
    }
    return out;
}

std::string oci_resources_json(const v1::LinuxContainerResources& resources) {
    return runtime::oci::dump(resources_json(resources));
}

std::string microvm_cgroup(const v1::LinuxPodSandboxConfig& pod, const std::string& id) {
    const std::string& parent = pod.cgroup_parent();
    if (parent.empty() || pod.resources().memory_limit_in_bytes() <= 0 ||
        pod.overhead().memory_limit_in_bytes() > 0) {
        return parent.empty() ? "" : parent + "/pepita-" + id;
    }
    const std::size_t slash = parent.rfind('/');
    return (slash == std::string::npos ? "" : parent.substr(0, slash)) + "/pepita-" + id;
}

}  // namespace pepita::cri
