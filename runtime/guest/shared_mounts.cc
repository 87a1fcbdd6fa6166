#include "runtime/guest/shared_mounts.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/mounts.h"

namespace pepita::runtime::guest {
namespace {

constexpr std::string_view kOfPod = "pod:";
constexpr const char* kTreePrefix = "tree:";  // is in no name
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789-";

struct Source {
    const char* type;
    std::string device;
    std::string data;
    unsigned long flags = 0;
};

/// For the first container that asks for it. Gives the place.
Result<std::string> mount_once(const std::string& directory, std::string_view name,
                               const Source& source) {
    TRY(make_directory(directory, 0700));
    std::string place = directory + "/" + std::string(name);
    if (::mkdir(place.c_str(), 0700) != 0) {
        return errno == EEXIST ? Result<std::string>(std::move(place))
                               : Error::from_errno(errno, "make '" + place + "'");
    }
    if (::mount(source.device.c_str(), place.c_str(), source.type, source.flags,
                source.data.c_str()) != 0) {
        Error error = Error::from_errno(errno, source.type);
        (void)::rmdir(place.c_str());
        return error;
    }
    return place;
}

bool is_name(std::string_view text) {
    return !text.empty() && text.find_first_not_of(kLetters) == std::string_view::npos;
}

Result<void> share_memory(MountSpec& mount, const std::string& directory) {
    const std::string_view name = std::string_view(mount.source).substr(kOfPod.size());
    if (!is_name(name)) {
        return Error(Code::InvalidArgument, "source '" + mount.source + "'");
    }
    container::MountOptions options = container::mount_options(mount.options);
    // Whether it is read-only is each container's own.
    const unsigned long flags = options.flags & ~static_cast<unsigned long>(MS_RDONLY);
    std::string place = TRY(mount_once(
        directory, name,
        {.type = "tmpfs", .device = "tmpfs", .data = std::move(options.data), .flags = flags}));
    mount.type = "bind";
    mount.tree = TreePath{.tag = std::move(place), .path = ""};
    return {};
}

// Mounting does not ask the device's server, so this does not wait for it.
Result<void> share_tree(TreePath& tree, const std::string& directory) {
    if (tree.tag.starts_with('/')) {
        return {};
    }
    if (!is_name(tree.tag)) {
        return Error(Code::InvalidArgument, "tag '" + tree.tag + "'");
    }
    tree.tag =
        TRY(mount_once(directory, kTreePrefix + tree.tag,
                       {.type = "virtiofs", .device = tree.tag, .data = "", .flags = MS_NODEV}));
    return {};
}

}  // namespace

Result<void> share_mounts(ContainerSpec& spec, const std::string& directory) {
    if (spec.root.tree) {
        TRY(share_tree(*spec.root.tree, directory), "root");
    }
    for (MountSpec& mount : spec.mounts) {
        if (mount.type == "tmpfs" && mount.source.starts_with(kOfPod)) {
            TRY(share_memory(mount, directory), "mount '", mount.destination, "'");
        }
        if (mount.tree) {
            TRY(share_tree(*mount.tree, directory), "mount '", mount.destination, "'");
        }
    }
    return {};
}

}  // namespace pepita::runtime::guest
