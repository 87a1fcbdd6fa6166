#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/oci/linux_json.h"
#include "runtime/oci/names.h"
#include "runtime/oci/process_json.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {
namespace {

constexpr auto kTypes =
    std::to_array<std::string_view>({"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup",
                                     "cgroup2", "bind", "volume", MountSpec::kImage});

// The guest gives the container a mount namespace of its own that nothing reaches from outside, so
// these ask for what is so anyway; but a slave bind of the host's files follows the host.
constexpr auto kNoEffect =
    std::to_array<std::string_view>({"private", "rprivate", "slave", "rslave"});

// Options that runtimes act on themselves, config.md "Linux mount options", and is_recursive().
// What is neither here nor a flag goes to the file system, which refuses what it does not know.
// A bind that is shared is for the shim to refuse: without a microVM there is such a thing.
constexpr auto kUnsupported = std::to_array<std::string_view>(
    {"shared", "rshared", "unbindable", "runbindable", "idmap", "ridmap", "copy-symlink",
     "src-nofollow", "dest-nofollow", "remount"});

constexpr auto kBinds = std::to_array<std::string_view>({"bind", "rbind"});
constexpr auto kBindOptions = std::to_array<std::string_view>(
    {"bind",       "rbind",       "private", "rprivate", "slave",        "rslave",
     "shared",     "rshared",     "ratime",  "rnoatime", "rdev",         "rnodev",
     "rdiratime",  "rnodiratime", "rexec",   "rnoexec",  "rro",          "rrw",
     "rrelatime",  "rnorelatime", "rsuid",   "rnosuid",  "rstrictatime", "rnostrictatime",
     "rsymfollow", "rnosymfollow"});

bool is_flag(std::string_view option) {
    return std::ranges::find(mount_flags(), option, &MountFlag::name) != mount_flags().end();
}

/// A flag for what is mounted below, too: "rro".
bool is_recursive(std::string_view option) {
    return option.starts_with('r') && is_flag(option.substr(1));
}

Result<std::vector<Node>> option_nodes(const Object& mount) {
    const auto options = mount.find("options");
    return options ? options->elements() : Result<std::vector<Node>>(std::vector<Node>());
}

// A guest's kernel gives what is mounted below a bind the flags of the bind, so a recursive flag is
// the plain one there. The host has to know of both.
void add_bind_option(std::string option, std::vector<std::string>& out) {
    if (is_recursive(option)) {
        out.push_back(option.substr(1));
    }
    out.push_back(std::move(option));
}

Result<std::vector<std::string>> read_options(const Object& mount, std::string_view type) {
    const bool is_bind = type == "bind" || type == MountSpec::kImage;
    std::vector<std::string> out;
    for (const Node& element : TRY(option_nodes(mount))) {
        std::string option = TRY(element.text());
        // Options are joined with commas for mount(2): one must not smuggle in a second.
        if (option.empty() || option.contains(',')) {
            return element.invalid("must be one mount option");
        }
        const bool is_known = is_bind ? is_flag(option) || is_one_of(option, kBindOptions)
                                      : !is_recursive(option) && !is_one_of(option, kUnsupported) &&
                                            (option != kCopyUp || type == "tmpfs");
        if (!is_known) {
            return element.unsupported("mount option " + in_quotes(option) + " is not supported");
        }
        if (is_bind) {
            add_bind_option(std::move(option), out);
        } else if (!is_one_of(option, kNoEffect)) {
            out.push_back(std::move(option));
        }
    }
    return out;
}

// A bind mount is one by its type or by an option, as for runc.
Result<std::string> read_type(const Object& mount) {
    for (const Node& element : TRY(option_nodes(mount))) {
        if (is_one_of(TRY(element.text()), kBinds)) {
            return std::string("bind");
        }
    }
    const Node type = TRY(mount.require("type"));
    std::string text = TRY(type.text());
    if (!is_one_of(text, kTypes)) {
        return type.unsupported("mount type " + in_quotes(text) + " is not supported");
    }
    return text == "cgroup2" ? "cgroup" : text;  // the guest has version 2 only
}

// With them the mount shows the ids inside of these mappings as those outside.
Result<void> read_mount_ids(const Object& object, MountSpec& mount) {
    if (mount.type != "bind") {
        return object.refuse({"uidMappings", "gidMappings"});
    }
    mount.uid_mappings = TRY(read_mappings(object, "uidMappings"));
    mount.gid_mappings = TRY(read_mappings(object, "gidMappings"));
    if (mount.uid_mappings.empty() != mount.gid_mappings.empty()) {
        return object.node().invalid("'uidMappings' and 'gidMappings' need each other");
    }
    return {};
}

Result<MountSpec> read_mount(const Node& node) {
    const Object object = TRY(node.object());
    MountSpec mount;
    mount.destination = TRY(read_container_path(TRY(object.require("destination"))));
    mount.source = TRY(object.text_or_empty("source"));
    mount.type = TRY(read_type(object));
    const bool is_image = mount.type == MountSpec::kImage;
    mount.options = TRY(read_options(object, mount.type));
    if (mount.type == "bind" && mount.source.empty()) {
        return node.invalid("a bind mount needs a source");
    }
    if (is_image && !image_path(mount.source)) {
        return node.invalid("an image needs a source 'sha256:DIGITS' or 'sha256:DIGITS/PATH'");
    }
    TRY(read_mount_ids(object, mount));
    return mount;
}

}  // namespace

std::span<const std::string_view> bind_options() { return kBindOptions; }

Result<std::vector<MountSpec>> read_mounts(const Node& node) {
    std::vector<MountSpec> out;
    for (const Node& element : TRY(node.elements())) {
        out.push_back(TRY(read_mount(element)));
    }
    return out;
}

}  // namespace pepita::runtime::oci
