#include "runtime/oci/linux_json.h"

#include <sys/personality.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/oci/names.h"
#include "runtime/oci/process_json.h"
#include "runtime/oci/seccomp_json.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {
namespace {

constexpr std::int64_t kMajorMax = 0xfff;  // 12 and 20 bits of the kernel's dev_t
constexpr std::int64_t kMinorMax = 0xf'ffff;

constexpr std::array<std::pair<std::string_view, Propagation>, 4> kPropagations{
    {{"private", Propagation::Private},
     {"slave", Propagation::Slave},
     {"shared", Propagation::Shared},
     {"unbindable", Propagation::Unbindable}}};

constexpr std::string_view kSysctlLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

constexpr auto kUtsSysctls =
    std::to_array<std::string_view>({"kernel.hostname", "kernel.domainname"});

constexpr auto kIpcSysctls = std::to_array<std::string_view>(
    {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
     "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"});

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
bool is_namespaced(std::string_view name, const Bundle& bundle) {
    const NamespacesSpec& is_new = bundle.container.namespaces;
    const auto has = [&](bool flag, std::string_view type) {
        return flag ||
               std::ranges::find(bundle.joined, type, &NamespacePath::type) != bundle.joined.end();
    };
    if (name.starts_with("net.")) {
        return is_new.network || !bundle.network_namespace.empty();
    }
    if (name.starts_with("fs.mqueue.") || is_one_of(name, kIpcSysctls)) {
        return has(is_new.ipc, "ipc");
    }
    return has(is_new.uts, "uts") && is_one_of(name, kUtsSysctls);
}

Result<std::vector<SysctlSpec>> read_sysctls(const Node& node, const Bundle& bundle) {
    std::vector<SysctlSpec> out;
    for (const auto& [name, value] : TRY(node.members())) {
        // It becomes a path below /proc/sys. '/' is how a name with dots in it would be written
        // (net/ipv4/conf/eth0.1), and is left out.
        if (name.find_first_not_of(kSysctlLetters) != std::string::npos || name.starts_with('.') ||
            name.ends_with('.') || name.contains("..")) {
            return value.invalid("must be named by words and dots");
        }
        if (!is_namespaced(name, bundle)) {
            return value.unsupported("belongs to no namespace of the container");
        }
        out.push_back({.name = name, .value = TRY(value.text())});
    }
    return out;
}

Result<Propagation> read_propagation(const Object& linux) {
    std::string text = TRY(linux.text_or_empty("rootfsPropagation"));
    const auto* const known = std::ranges::find_if(kPropagations, [&](const auto& one) {
        return text == one.first || text == "r" + std::string(one.first);
    });
    if (!text.empty() && known == kPropagations.end()) {
        return TRY(linux.require("rootfsPropagation")).invalid("no such propagation");
    }
    return text.empty() ? Propagation::None : known->second;
}

Result<std::optional<std::uint32_t>> read_personality(const Object& linux) {
    const auto node = linux.find("personality");
    if (!node) {
        return std::nullopt;
    }
    const Object object = TRY(node->object());
    TRY(object.refuse({"flags"}));  // the specification has none
    const Node domain = TRY(object.require("domain"));
    const std::string text = TRY(domain.text());
    if (text != "LINUX" && text != "LINUX32") {
        return domain.invalid("must be LINUX or LINUX32");
    }
    return text == "LINUX" ? PER_LINUX : PER_LINUX32;
}

}  // namespace

Result<void> read_linux(const Object& linux, Bundle& bundle) {
    TRY(linux.refuse({"netDevices", "mountLabel", "intelRdt", "memoryPolicy"}));
    ContainerSpec& container = bundle.container;
    TRY(read_namespaces(linux, bundle));
    container.root_propagation = TRY(read_propagation(linux));
    container.personality = TRY(read_personality(linux));
    if (const auto resources = linux.find("resources")) {
        container.resources = TRY(read_resources(TRY(resources->object()), bundle));
    }
    if (const auto devices = linux.find("devices")) {
        container.devices = TRY(read_devices(*devices));
    }
    if (const auto sysctls = linux.find("sysctl")) {
        container.sysctls = TRY(read_sysctls(*sysctls, bundle));
    }
    if (const auto seccomp = linux.find("seccomp"); seccomp && !seccomp->asks_nothing()) {
        container.seccomp = TRY(read_seccomp(*seccomp));
    }
    container.masked_paths = TRY(read_paths(linux, "maskedPaths"));
    container.read_only_paths = TRY(read_paths(linux, "readonlyPaths"));
    return {};
}

}  // namespace pepita::runtime::oci
