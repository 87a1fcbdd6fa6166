#include "cri/container_spec.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "cri/api/cri.h"
#include "cri/spec/member.h"
#include "cri/spec/mounts.h"
#include "cri/spec/namespaces.h"
#include "cri/spec/process.h"
#include "cri/spec/resources.h"
#include "cri/spec/seccomp.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;
using runtime::oci::OrderedJson;

// Of a container without a security context; else it is CRI that names them, and none are none.
constexpr auto kMaskedPaths = std::to_array<std::string_view>(
    {"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
     "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
     "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"});
constexpr auto kReadOnlyPaths = std::to_array<std::string_view>(
    {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"});

// What every container has of the guest's.
constexpr auto kDevices = std::to_array<std::string_view>(
    {"/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"});

Result<void> refuse_devices(const v1::ContainerConfig& container) {
    for (std::size_t i = 0; const v1::Device& device : container.devices()) {
        const std::string member = element("devices", i++);
        if (std::ranges::find(kDevices, device.host_path()) == kDevices.end()) {
            return unsupported(member + ".host_path", in_quotes(device.host_path()) +
                                                          " is the host's: a microVM has its own");
        }
        if (device.container_path() != device.host_path()) {
            return unsupported(member + ".container_path",
                               "must be " + in_quotes(device.host_path()));
        }
    }
    if (!container.cdi_devices().empty()) {
        return unsupported("CDI_devices[0]", in_quotes(container.cdi_devices(0).name()) +
                                                 " is a device of the host: a microVM has its own");
    }
    return {};
}

// The network is not the user namespace's own, so its root would be nobody there: what needs a
// capability of the network else is open to all.
std::map<std::string, std::string> sysctls_of(const v1::PodSandboxConfig& pod,
                                              bool has_user_namespace) {
    std::map<std::string, std::string> out(pod.linux().sysctls().begin(),
                                           pod.linux().sysctls().end());
    if (has_user_namespace) {
        out.emplace("net.ipv4.ip_unprivileged_port_start", "0");
        out.emplace("net.ipv4.ping_group_range", "0 2147483647");
    }
    return out;
}

Result<OrderedJson> linux_json(const v1::PodSandboxConfig& pod,
                               const v1::ContainerConfig& container, const ContainerPlace& place,
                               const std::set<std::string>& capabilities) {
    const v1::LinuxContainerSecurityContext& security = container.linux().security_context();
    TRY(refuse_devices(container));
    OrderedJson out = TRY(namespaces_json(security, place));
    OrderedJson& resources = out["resources"] = resources_json(container.linux().resources());
    resources["devices"] =
        OrderedJson::array({{{"allow", security.privileged()}, {"access", "rwm"}}});
    if (!place.cgroups_path.empty()) {
        out["cgroupsPath"] = place.cgroups_path;
    }
    if (auto sysctls = sysctls_of(pod, out.contains("uidMappings")); !sysctls.empty()) {
        out["sysctl"] = std::move(sysctls);
    }
    if (!container.linux().has_security_context()) {
        out["maskedPaths"] = kMaskedPaths;
        out["readonlyPaths"] = kReadOnlyPaths;
    } else if (!security.privileged()) {
        out["maskedPaths"] = OrderedJson(security.masked_paths());
        out["readonlyPaths"] = OrderedJson(security.readonly_paths());
    }
    if (auto seccomp = TRY(seccomp_json(security, place, capabilities))) {
        out["seccomp"] = *std::move(seccomp);
    }
    return out;
}

OrderedJson annotations_json(const v1::PodSandboxConfig& pod, const v1::ContainerConfig& container,
                             const ContainerPlace& place) {
    std::map<std::string, std::string> all(pod.annotations().begin(), pod.annotations().end());
    for (const auto& [name, value] : container.annotations()) {
        all.insert_or_assign(name, value);
    }
    // The user's own must not say what a container is.
    std::erase_if(all, [](const auto& one) { return one.first.starts_with("io.kubernetes.cri"); });
    const std::string prefix = "io.kubernetes.cri.";
    all[prefix + "container-type"] = "container";
    all[prefix + "sandbox-id"] = place.pod_id;
    all[prefix + "container-name"] = container.metadata().name();
    all[prefix + "image-name"] = container.image().user_specified_image().empty()
                                     ? container.image().image()
                                     : container.image().user_specified_image();
    all[prefix + "sandbox-name"] = pod.metadata().name();
    all[prefix + "sandbox-namespace"] = pod.metadata().namespace_();
    all[prefix + "sandbox-uid"] = pod.metadata().uid();
    return all;
}

}  // namespace

Result<std::string> oci_config(const v1::PodSandboxConfig& pod,
                               const v1::ContainerConfig& container, const ImageConfig& image,
                               const ContainerPlace& place) {
    OrderedJson out{{"ociVersion", "1.2.0"}};
    out["process"] = TRY(process_json(container, image, place));
    out["root"] = {{"path", "rootfs"},
                   {"readonly", container.linux().security_context().readonly_rootfs()}};
    if (!place.hostname.empty()) {
        out["hostname"] = place.hostname;
    }
    out["mounts"] = TRY(mounts_json(container, image, place));
    out["linux"] =
        TRY(linux_json(pod, container, place, out["process"]["capabilities"]["bounding"]));
    out["annotations"] = annotations_json(pod, container, place);
    return runtime::oci::dump(out);
}

}  // namespace pepita::cri
