#include "runtime/oci/linux_json.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/oci/names.h"
#include "runtime/oci/process_json.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {
namespace {

constexpr std::int64_t kMajorMax = 0xfff;  // 12 and 20 bits of the kernel's dev_t
constexpr std::int64_t kMinorMax = 0xf'ffff;
constexpr std::int64_t kAny = -1;

constexpr auto kPropagations =
    std::to_array<std::string_view>({"", "private", "rprivate", "slave", "rslave"});

constexpr std::string_view kSysctlLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

constexpr auto kUtsSysctls =
    std::to_array<std::string_view>({"kernel.hostname", "kernel.domainname"});

constexpr auto kIpcSysctls = std::to_array<std::string_view>(
    {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
     "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"});

constexpr std::array kNamespaceTypes{
    NamespaceType{.name = "cgroup", .flag = &NamespacesSpec::cgroup},
    NamespaceType{.name = "ipc", .flag = &NamespacesSpec::ipc},
    NamespaceType{.name = "mount", .flag = &NamespacesSpec::mount},
    NamespaceType{.name = "network", .flag = &NamespacesSpec::network},
    NamespaceType{.name = "pid", .flag = &NamespacesSpec::pid},
    NamespaceType{.name = "uts", .flag = &NamespacesSpec::uts}};

/// A mount namespace is made even if none is asked for: the container's mounts are never the
/// guest's own, and a container cannot tell.
Result<NamespacesSpec> read_namespaces(const Object& linux) {
    NamespacesSpec out;
    const auto node = linux.find("namespaces");
    for (const Node& element : node ? TRY(node->elements()) : std::vector<Node>()) {
        const Object object = TRY(element.object());
        const Node type = TRY(object.require("type"));
        const std::string name = TRY(type.text());
        if (name == "user" || name == "time") {
            return type.unsupported(in_quotes(name) + " namespaces are not supported");
        }
        const auto* const known = std::ranges::find(kNamespaceTypes, name, &NamespaceType::name);
        if (known == kNamespaceTypes.end()) {
            return type.invalid("no such namespace: " + in_quotes(name));
        }
        if (out.*known->flag) {
            return type.invalid(in_quotes(name) + " is there twice");
        }
        const auto path = object.find("path");
        if (path && !path->asks_nothing()) {
            return path->unsupported("joining a namespace of the host is not supported");
        }
        out.*known->flag = true;
    }
    out.mount = true;
    return out;
}

Result<std::optional<std::int64_t>> read_rule_number(const Object& object, std::string_view name,
                                                     std::int64_t max) {
    std::optional<std::int64_t> out;
    if (const auto node = object.find(name)) {
        const std::int64_t number = TRY(node->integer(kAny, max));
        if (number != kAny) {
            out = number;
        }
    }
    return out;
}

Result<DeviceRule> read_device_rule(const Node& node) {
    const Object object = TRY(node.object());
    DeviceRule rule;
    rule.access = "rwm";
    rule.allow = TRY(TRY(object.require("allow")).boolean());
    if (const auto type = object.find("type")) {
        const std::string text = TRY(type->text());
        if (text != "a" && text != "b" && text != "c") {
            return type->invalid("must be a, b or c");
        }
        rule.type = text.front();
    }
    rule.major = TRY(read_rule_number(object, "major", kMajorMax));
    rule.minor = TRY(read_rule_number(object, "minor", kMinorMax));
    if (const auto access = object.find("access")) {
        rule.access = TRY(access->text());
        if (rule.access.empty() || rule.access.find_first_not_of("rwm") != std::string::npos) {
            return access->invalid("must be made of r, w and m");
        }
    }
    return rule;
}

Result<void> read_memory(const Object& memory, ResourcesSpec& out) {
    TRY(memory.refuse({"reservation", "swap", "kernel", "kernelTCP", "swappiness",
                       "disableOOMKiller", "useHierarchy", "checkBeforeUpdate"}));
    if (const auto limit = memory.find("limit")) {
        out.memory_limit_bytes = TRY(limit->integer(-1, INT64_MAX));
    }
    return {};
}

Result<void> read_cpu(const Object& cpu, ResourcesSpec& out) {
    TRY(cpu.refuse({"burst", "realtimeRuntime", "realtimePeriod", "cpus", "mems", "idle"}));
    if (const auto shares = cpu.find("shares")) {
        out.cpu_shares = TRY(shares->natural(UINT64_MAX));
    }
    if (const auto quota = cpu.find("quota")) {
        out.cpu_quota_us = TRY(quota->integer(-1, INT64_MAX));
    }
    if (const auto period = cpu.find("period")) {
        out.cpu_period_us = TRY(period->natural(UINT64_MAX));
    }
    return {};
}

Result<DeviceSpec> read_device(const Node& node) {
    const Object object = TRY(node.object());
    DeviceSpec device;
    device.path = TRY(read_container_path(TRY(object.require("path"))));
    const Node type = TRY(object.require("type"));
    const std::string text = TRY(type.text());
    if (text != "c" && text != "b" && text != "u" && text != "p") {
        return type.invalid("must be c, b, u or p");
    }
    device.type = text.front();
    if (device.type != 'p') {
        device.major = TRY(TRY(object.require("major")).integer(0, kMajorMax));
        device.minor = TRY(TRY(object.require("minor")).integer(0, kMinorMax));
    }
    if (const auto mode = object.find("fileMode")) {
        // Some writers leave the bits of the file's type in.
        device.file_mode = static_cast<std::uint32_t>(TRY(mode->natural(S_IFMT | 07777))) & 07777U;
    }
    if (const auto uid = object.find("uid")) {
        device.uid = static_cast<std::uint32_t>(TRY(uid->natural(UINT32_MAX - 1)));
    }
    if (const auto gid = object.find("gid")) {
        device.gid = static_cast<std::uint32_t>(TRY(gid->natural(UINT32_MAX - 1)));
    }
    return device;
}

/// A device given twice is one device, as long as both say the same.
Result<std::vector<DeviceSpec>> read_devices(const Node& node) {
    std::vector<DeviceSpec> out;
    for (const Node& element : TRY(node.elements())) {
        DeviceSpec device = TRY(read_device(element));
        const auto before = std::ranges::find(out, device.path, &DeviceSpec::path);
        if (before == out.end()) {
            out.push_back(std::move(device));
        } else if (*before != device) {
            return element.invalid(in_quotes(device.path) + " is there twice, and differs");
        }
    }
    return out;
}

Result<std::vector<std::string>> read_paths(const Object& linux, std::string_view name) {
    std::vector<std::string> out;
    if (const auto paths = linux.find(name)) {
        for (const Node& element : TRY(paths->elements())) {
            std::string path = TRY(read_container_path(element));
            if (std::ranges::find(out, path) == out.end()) {
                out.push_back(std::move(path));
            }
        }
    }
    return out;
}

/// Which namespace a parameter belongs to, so that setting it changes this container alone.
/// Source: Linux ipc/ipc_sysctl.c, ipc/mq_sysctl.c, kernel/utsname_sysctl.c.
bool is_namespaced(std::string_view name, const NamespacesSpec& namespaces) {
    if (name.starts_with("net.")) {
        return namespaces.network;
    }
    if (name.starts_with("fs.mqueue.") || is_one_of(name, kIpcSysctls)) {
        return namespaces.ipc;
    }
    return namespaces.uts && is_one_of(name, kUtsSysctls);
}

Result<std::vector<SysctlSpec>> read_sysctls(const Node& node, const NamespacesSpec& namespaces) {
    std::vector<SysctlSpec> out;
    for (const auto& [name, value] : TRY(node.members())) {
        // It becomes a path below /proc/sys. '/' is how a name with dots in it would be written
        // (net/ipv4/conf/eth0.1), and is left out.
        if (name.find_first_not_of(kSysctlLetters) != std::string::npos || name.starts_with('.') ||
            name.ends_with('.') || name.contains("..")) {
            return value.invalid("must be named by words and dots");
        }
        if (!is_namespaced(name, namespaces)) {
            return value.unsupported("belongs to no new namespace of the container");
        }
        out.push_back({.name = name, .value = TRY(value.text())});
    }
    return out;
}

Result<void> check_propagation(const Object& linux) {
    const auto node = linux.find("rootfsPropagation");
    if (!node) {
        return {};
    }
    const std::string text = TRY(node->text());
    // No mount of the host is ever in the guest, so nothing propagates whichever of these it is.
    if (!is_one_of(text, kPropagations)) {
        return node->unsupported(in_quotes(text) + " is not supported");
    }
    return {};
}

}  // namespace

Result<ResourcesSpec> read_resources(const Object& resources) {
    TRY(resources.refuse({"blockIO", "hugepageLimits", "network", "rdma", "unified"}));
    ResourcesSpec out;
    if (const auto devices = resources.find("devices")) {
        for (const Node& element : TRY(devices->elements())) {
            out.devices.push_back(TRY(read_device_rule(element)));
        }
    }
    if (const auto memory = resources.find("memory")) {
        TRY(read_memory(TRY(memory->object()), out));
    }
    if (const auto cpu = resources.find("cpu")) {
        TRY(read_cpu(TRY(cpu->object()), out));
    }
    if (const auto pids = resources.find("pids")) {
        const Object object = TRY(pids->object());
        out.pids_limit = TRY(TRY(object.require("limit")).integer(-1, INT64_MAX));
    }
    return out;
}

std::span<const NamespaceType> namespace_types() { return kNamespaceTypes; }

Result<void> read_linux(const Object& linux, ContainerSpec& container) {
    TRY(linux.refuse({"uidMappings", "gidMappings", "netDevices", "seccomp", "mountLabel",
                      "intelRdt", "memoryPolicy", "personality", "timeOffsets"}));
    TRY(check_propagation(linux));
    container.namespaces = TRY(read_namespaces(linux));
    if (const auto resources = linux.find("resources")) {
        container.resources = TRY(read_resources(TRY(resources->object())));
    }
    if (const auto devices = linux.find("devices")) {
        container.devices = TRY(read_devices(*devices));
    }
    if (const auto sysctls = linux.find("sysctl")) {
        container.sysctls = TRY(read_sysctls(*sysctls, container.namespaces));
    }
    container.masked_paths = TRY(read_paths(linux, "maskedPaths"));
    container.read_only_paths = TRY(read_paths(linux, "readonlyPaths"));
    return {};
}

}  // namespace pepita::runtime::oci

namespace pepita::runtime {

Result<ResourcesSpec> parse_resources(std::string_view json) {
    const oci::Json document = TRY(oci::parse_json(json), "resources");
    return oci::read_resources(TRY(oci::Node(document, "resources").object()));
}

}  // namespace pepita::runtime
