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
#include "kernel-abi/sys/user_namespace.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/oci/linux_json.h"
#include "runtime/oci/names.h"
#include "runtime/oci/process_json.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {
namespace {

constexpr std::uint64_t kIdsMax = 0xffff'ffff;
constexpr std::uint64_t kNanosecondsMax = 999'999'999;

constexpr std::array kNamespaceTypes{
    NamespaceType{.name = "cgroup", .flag = &NamespacesSpec::cgroup},
    NamespaceType{.name = "ipc", .flag = &NamespacesSpec::ipc},
    NamespaceType{.name = "mount", .flag = &NamespacesSpec::mount},
    NamespaceType{.name = "network", .flag = &NamespacesSpec::network},
    NamespaceType{.name = "pid", .flag = &NamespacesSpec::pid},
    NamespaceType{.name = "time", .flag = &NamespacesSpec::time},
    NamespaceType{.name = "user", .flag = &NamespacesSpec::user},
    NamespaceType{.name = "uts", .flag = &NamespacesSpec::uts}};

constexpr auto kJoined = std::to_array<std::string_view>({"pid", "ipc", "uts"});

Result<void> join(const Node& node, const std::string& type, std::string path, Bundle& bundle) {
    const bool is_named = is_one_of(type, kJoined) &&
                          (path == NamespacePath::kOfPod ||
                           (path.starts_with(NamespacePath::kOfContainer) &&
                            check_container_id(path.substr(NamespacePath::kOfContainer.size()))));
    if (!is_named && !path.starts_with('/')) {
        return node.invalid("must be an absolute path");
    }
    if (type == "network") {
        bundle.network_namespace = std::move(path);
    } else if (is_one_of(type, kJoined)) {
        bundle.joined.push_back({.type = type, .path = std::move(path)});
    } else {
        return node.unsupported("a container cannot join a " + type + " namespace");
    }
    return {};
}

Result<void> read_user(const Object& linux, NamespacesSpec& out) {
    out.uid_mappings = TRY(read_mappings(linux, "uidMappings"));
    out.gid_mappings = TRY(read_mappings(linux, "gidMappings"));
    if (out.user) {
        if (out.uid_mappings.empty() || out.gid_mappings.empty()) {
            return linux.node().invalid("a user namespace needs 'uidMappings' and 'gidMappings'");
        }
    } else if (!out.uid_mappings.empty() || !out.gid_mappings.empty()) {
        return linux.node().invalid("'uidMappings' and 'gidMappings' need a user namespace");
    }
    return {};
}

Result<std::optional<ClockOffset>> read_offset(const Object& offsets, std::string_view name) {
    const auto node = offsets.find(name);
    if (!node) {
        return std::nullopt;
    }
    const Object object = TRY(node->object());
    ClockOffset out;
    if (const auto seconds = object.find("secs")) {
        out.seconds = TRY(seconds->integer(INT64_MIN, INT64_MAX));
    }
    if (const auto nanoseconds = object.find("nanosecs")) {
        out.nanoseconds = static_cast<std::uint32_t>(TRY(nanoseconds->natural(kNanosecondsMax)));
    }
    return out;
}

Result<void> read_offsets(const Object& linux, NamespacesSpec& out) {
    const auto node = linux.find("timeOffsets");
    if (!node || node->asks_nothing()) {
        return {};
    }
    if (!out.time) {
        return node->invalid("needs a new time namespace");
    }
    for (const auto& [name, value] : TRY(node->members())) {
        if (name != "monotonic" && name != "boottime") {
            return value.invalid("no such clock: " + in_quotes(name));
        }
    }
    const Object offsets = TRY(node->object());
    out.monotonic = TRY(read_offset(offsets, "monotonic"));
    out.boottime = TRY(read_offset(offsets, "boottime"));
    return {};
}

}  // namespace

Result<std::vector<IdMapping>> read_mappings(const Object& parent, std::string_view name) {
    std::vector<IdMapping> out;
    const auto node = parent.find(name);
    for (const Node& element : node ? TRY(node->elements()) : std::vector<Node>()) {
        const Object object = TRY(element.object());
        const Node size = TRY(object.require("size"));
        const std::uint64_t container = TRY(TRY(object.require("containerID")).natural(kIdsMax));
        const std::uint64_t host = TRY(TRY(object.require("hostID")).natural(kIdsMax));
        const std::uint64_t count = TRY(size.natural(kIdsMax));
        if (count == 0 || container + count > kIdsMax || host + count > kIdsMax) {
            return size.invalid("must be at least 1, and end below 2^32 - 1");
        }
        out.push_back({.container_id = static_cast<std::uint32_t>(container),
                       .host_id = static_cast<std::uint32_t>(host),
                       .size = static_cast<std::uint32_t>(count)});
    }
    if (node && out.size() > IdMapping::kCountMax) {
        return node->invalid("must have at most " + std::to_string(IdMapping::kCountMax) +
                             " mappings");
    }
    return out;
}

std::span<const NamespaceType> namespace_types() { return kNamespaceTypes; }

/// A mount namespace is made even if none is asked for: the container's mounts are never the
/// guest's own, and a container cannot tell.
Result<void> read_namespaces(const Object& linux, Bundle& bundle) {
    NamespacesSpec& out = bundle.container.namespaces;
    std::vector<std::string> seen;
    const auto node = linux.find("namespaces");
    for (const Node& element : node ? TRY(node->elements()) : std::vector<Node>()) {
        const Object object = TRY(element.object());
        const Node type = TRY(object.require("type"));
        const std::string name = TRY(type.text());
        const auto* const known = std::ranges::find(kNamespaceTypes, name, &NamespaceType::name);
        if (known == kNamespaceTypes.end()) {
            return type.invalid("no such namespace: " + in_quotes(name));
        }
        if (std::ranges::find(seen, name) != seen.end()) {
            return type.invalid(in_quotes(name) + " is there twice");
        }
        seen.push_back(name);
        const auto path = object.find("path");
        if (path && !path->asks_nothing()) {
            TRY(join(*path, name, TRY(path->text()), bundle));
        } else {
            out.*known->flag = true;
        }
    }
    out.mount = true;
    TRY(read_user(linux, out));
    return read_offsets(linux, out);
}

}  // namespace pepita::runtime::oci
