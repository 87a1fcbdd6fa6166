#include <array>
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

constexpr auto kTypes = std::to_array<std::string_view>(
    {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"});

// The guest gives the container a mount namespace of its own that nothing reaches from outside, so
// these two ask for what is so anyway.
constexpr auto kNoEffect =
    std::to_array<std::string_view>({"private", "rprivate", "slave", "rslave"});

// Options that runtimes act on themselves, config.md "Linux mount options". What is neither here
// nor a flag goes to the file system, which refuses what it does not know.
constexpr auto kUnsupported = std::to_array<std::string_view>({
    "bind",         "rbind",          "shared",    "rshared",      "unbindable",   "runbindable",
    "idmap",        "ridmap",         "tmpcopyup", "copy-symlink", "src-nofollow", "remount",
    "ratime",       "rnoatime",       "rdev",      "rnodev",       "rdiratime",    "rnodiratime",
    "rexec",        "rnoexec",        "rro",       "rrw",          "rrelatime",    "rnorelatime",
    "rstrictatime", "rnostrictatime", "rsuid",     "rnosuid",      "rsymfollow",   "rnosymfollow",
});

Result<std::vector<std::string>> read_options(const Object& object) {
    std::vector<std::string> out;
    const auto options = object.find("options");
    if (!options) {
        return out;
    }
    for (const Node& element : TRY(options->elements())) {
        std::string option = TRY(element.text());
        if (is_one_of(option, kUnsupported)) {
            return element.unsupported("mount option " + in_quotes(option) + " is not supported");
        }
        // Options are joined with commas for mount(2): one must not smuggle in a second.
        if (option.empty() || option.contains(',')) {
            return element.invalid("must be one mount option");
        }
        if (!is_one_of(option, kNoEffect)) {
            out.push_back(std::move(option));
        }
    }
    return out;
}

Result<MountSpec> read_mount(const Node& node) {
    const Object object = TRY(node.object());
    TRY(object.refuse({"uidMappings", "gidMappings"}));
    MountSpec mount;
    mount.destination = TRY(read_container_path(TRY(object.require("destination"))));
    mount.source = TRY(object.text_or_empty("source"));
    mount.options = TRY(read_options(object));
    const Node type = TRY(object.require("type"));
    mount.type = TRY(type.text());
    if (!is_one_of(mount.type, kTypes)) {
        return type.unsupported("mount type " + in_quotes(mount.type) + " is not supported");
    }
    if (mount.type == "cgroup2") {
        mount.type = "cgroup";  // the guest has version 2 only
    }
    return mount;
}

}  // namespace

Result<std::vector<MountSpec>> read_mounts(const Node& node) {
    std::vector<MountSpec> out;
    for (const Node& element : TRY(node.elements())) {
        out.push_back(TRY(read_mount(element)));
    }
    return out;
}

}  // namespace pepita::runtime::oci
