#include "cri/spec/mounts.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <map>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "cri/spec/member.h"
#include "cri/spec/namespaces.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;
using runtime::oci::OrderedJson;

using IdMappings = google::protobuf::RepeatedPtrField<v1::IDMapping>;

struct Entry {
    std::string destination;
    std::string type;
    std::string source;
    std::vector<std::string> options;
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    IdMappings uid_mappings = {};
    IdMappings gid_mappings = {};
    // NOLINTEND(readability-redundant-member-init)
};

constexpr auto kMountOptions =
    std::to_array<std::string_view>({"nodev", "noexec", "nosuid", "dev", "exec", "suid"});

constexpr std::ptrdiff_t kShmPlace = 4;  // after the other mounts in /dev

/// What every container has; /sys and its cgroups can be written to by a privileged one.
std::vector<Entry> usual_mounts(const v1::LinuxContainerSecurityContext& security) {
    const std::string access = security.privileged() ? "rw" : "ro";
    const v1::NamespaceMode ipc = security.namespace_options().ipc();
    std::vector<Entry> mounts{
        {.destination = "/proc",
         .type = "proc",
         .source = "proc",
         .options = {"nosuid", "noexec", "nodev"}},
        {.destination = "/dev",
         .type = "tmpfs",
         .source = "tmpfs",
         .options = {"nosuid", "strictatime", "mode=755", "size=65536k"}},
        {.destination = "/dev/pts",
         .type = "devpts",
         .source = "devpts",
         .options = {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
        {.destination = "/dev/mqueue",
         .type = "mqueue",
         .source = "mqueue",
         .options = {"nosuid", "noexec", "nodev"}},
        {.destination = "/sys",
         .type = "sysfs",
         .source = "sysfs",
         .options = {"nosuid", "noexec", "nodev", access}},
        {.destination = "/sys/fs/cgroup",
         .type = "cgroup",
         .source = "cgroup",
         .options = {"nosuid", "noexec", "nodev", "relatime", access}}};
    // Shared memory by name goes with that by number.
    mounts.insert(mounts.begin() + kShmPlace,
                  ipc == v1::NODE ? Entry{.destination = "/dev/shm",
                                          .type = "bind",
                                          .source = "/dev/shm",
                                          .options = {"rbind", "nosuid", "noexec", "nodev"}}
                                  : Entry{.destination = "/dev/shm",
                                          .type = "tmpfs",
                                          .source = ipc == v1::CONTAINER ? "shm" : "pod:shm",
                                          .options = {"nosuid", "noexec", "nodev", "mode=1777",
                                                      "size=65536k"}});
    return mounts;
}

Result<std::string> access_of(const v1::Mount& mount, const std::string& member) {
    if (!mount.recursive_read_only()) {
        return std::string(mount.readonly() ? "ro" : "rw");
    }
    if (!mount.readonly()) {
        return invalid(member + ".recursive_read_only", "needs a mount that is readonly");
    }
    if (mount.propagation() != v1::PROPAGATION_PRIVATE) {
        return invalid(member + ".recursive_read_only", "needs private propagation");
    }
    return std::string("rro");
}

Result<std::string> propagation_of(const v1::Mount& mount, const std::string& member,
                                   bool is_on_host) {
    if (mount.propagation() == v1::PROPAGATION_BIDIRECTIONAL) {
        if (is_on_host) {
            return std::string("rshared");
        }
        return unsupported(member + ".propagation",
                           "bidirectional: mounts of a microVM's guest do not reach the host");
    }
    if (!v1::MountPropagation_IsValid(mount.propagation())) {
        return invalid(member + ".propagation", "no such propagation");
    }
    return std::string(mount.propagation() == v1::PROPAGATION_PRIVATE ? "rprivate" : "rslave");
}

/// The image's disk has nothing of the host's, so there is nothing that could propagate.
Result<Entry> image_of(const v1::Mount& mount, const std::string& member, bool is_on_host) {
    if (is_on_host) {
        return unsupported(member + ".image", "a pod on the host has no images as volumes");
    }
    if (!mount.readonly()) {
        return invalid(member + ".readonly", "an image can only be mounted read-only");
    }
    if (!mount.host_path().empty()) {
        return invalid(member + ".host_path", "must be empty beside an image");
    }
    if (mount.propagation() != v1::PROPAGATION_PRIVATE) {
        return invalid(member + ".propagation", "an image needs private propagation");
    }
    const std::string& path = mount.image_sub_path();
    TRY(check_text(member + ".image_sub_path", path));
    if (path.starts_with('/') || std::ranges::count(std::filesystem::path(path), "..") != 0) {
        return invalid(member + ".image_sub_path", "must be relative and must not contain '..'");
    }
    const std::string& id = mount.image().image_ref();
    return Entry{.destination = "",
                 .type = std::string(runtime::MountSpec::kImage),
                 .source = path.empty() ? id : id + "/" + path,
                 .options = {"ro"}};
}

Result<Entry> host_path_of(const v1::Mount& mount, const std::string& member, bool is_on_host) {
    if (!mount.image_sub_path().empty()) {
        return invalid(member + ".image_sub_path", "needs an image");
    }
    if (mount.uidmappings().empty() != mount.gidmappings().empty()) {
        return invalid(member + ".uidMappings", "needs gidMappings, and the other way round");
    }
    if (is_on_host && !mount.uidmappings().empty()) {
        return unsupported(member + ".uidMappings", "a pod on the host has no user namespace");
    }
    if (!mount.host_path().starts_with('/')) {
        return invalid(member + ".host_path", "must be an absolute path");
    }
    TRY(check_text(member + ".host_path", mount.host_path()));
    return Entry{.destination = "",
                 .type = "bind",
                 .source = mount.host_path(),
                 .options = {"rbind", TRY(access_of(mount, member)),
                             TRY(propagation_of(mount, member, is_on_host))},
                 .uid_mappings = mount.uidmappings(),
                 .gid_mappings = mount.gidmappings()};
}

Result<Entry> own_mount(const v1::Mount& mount, const std::string& member, bool is_on_host) {
    TRY(check_container_path(member + ".container_path", mount.container_path()));
    Entry out = TRY(mount.has_image() ? image_of(mount, member, is_on_host)
                                      : host_path_of(mount, member, is_on_host));
    out.destination = normal_path(mount.container_path());
    if (out.destination == "/") {
        return invalid(member + ".container_path", "must not be the container's root");
    }
    for (std::size_t i = 0; const std::string& option : mount.mount_options()) {
        if (std::ranges::find(kMountOptions, option) == kMountOptions.end()) {
            return unsupported(element(member + ".mount_options", i),
                               in_quotes(option) + " is not supported");
        }
        out.options.push_back(option);
        ++i;
    }
    return out;
}

bool has(const std::vector<Entry>& entries, std::string_view destination) {
    return std::ranges::find(entries, destination, &Entry::destination) != entries.end();
}

/// What was made for the pod, where the container does not bring its own.
void add_files(const ContainerPlace& place, bool is_read_only, std::vector<Entry>& entries) {
    for (const auto& [destination, source] :
         {std::pair("/etc/hostname", &place.hostname_file), std::pair("/etc/hosts", &place.hosts),
          std::pair("/etc/resolv.conf", &place.resolv_conf)}) {
        if (!source->empty() && !has(entries, destination)) {
            entries.push_back({.destination = destination,
                               .type = "bind",
                               .source = *source,
                               .options = {"rbind", is_read_only ? "ro" : "rw", "rprivate"}});
        }
    }
}

/// Volumes of the image that no mount is for. Where the root can be written to they are part of it:
/// what is written there ends with the container in any case.
Result<void> add_volumes(const ImageConfig& image, std::vector<Entry>& entries) {
    for (const std::string& volume : image.volumes) {
        const std::string member = "image config: config.Volumes[" + in_quotes(volume) + "]";
        TRY(check_container_path(member, volume));
        const std::string destination = normal_path(volume);
        if (destination != "/" && !has(entries, destination)) {
            entries.push_back(
                {.destination = destination, .type = "volume", .source = "", .options = {}});
        }
    }
    return {};
}

}  // namespace

std::string normal_path(std::string_view path) {
    std::string out = std::filesystem::path(path).lexically_normal().string();
    while (out.size() > 1 && out.ends_with('/')) {
        out.pop_back();
    }
    return out;
}

Result<OrderedJson> mounts_json(const v1::ContainerConfig& container, const ImageConfig& image,
                                const ContainerPlace& place) {
    const v1::LinuxContainerSecurityContext& security = container.linux().security_context();
    std::vector<Entry> own;
    for (std::size_t i = 0; const v1::Mount& mount : container.mounts()) {
        own.push_back(TRY(own_mount(mount, element("mounts", i++), place.is_on_host)));
    }
    add_files(place, security.readonly_rootfs(), own);
    if (security.readonly_rootfs()) {
        TRY(add_volumes(image, own));
    }
    // One that is in another comes after it; those of one depth stay in their order.
    std::multimap<std::ptrdiff_t, Entry> by_depth;
    for (const Entry& entry : own) {
        by_depth.emplace(std::ranges::count(entry.destination, '/'), entry);
    }
    std::ranges::copy(by_depth | std::views::values, own.begin());
    std::vector<Entry> all = usual_mounts(security);
    std::erase_if(all, [&own](const Entry& entry) {
        return has(own, entry.destination) ||
               (entry.destination.starts_with("/dev/") && has(own, "/dev"));
    });
    all.insert(all.end(), own.begin(), own.end());
    OrderedJson out = OrderedJson::array();
    for (const Entry& entry : all) {
        OrderedJson& mount = out.emplace_back(OrderedJson{{"destination", entry.destination},
                                                          {"type", entry.type},
                                                          {"source", entry.source},
                                                          {"options", entry.options}});
        if (!entry.uid_mappings.empty()) {
            mount["uidMappings"] = id_mappings_json(entry.uid_mappings);
            mount["gidMappings"] = id_mappings_json(entry.gid_mappings);
        }
    }
    return out;
}

}  // namespace pepita::cri
