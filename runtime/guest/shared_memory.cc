#include "runtime/guest/shared_memory.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/mounts.h"

namespace pepita::runtime::guest {
namespace {

constexpr std::string_view kOfPod = "pod:";
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789-";

Result<void> make(const std::string& place, const MountSpec& mount) {
    if (::mkdir(place.c_str(), 0700) != 0) {
        return errno == EEXIST ? Result<void>() : Error::from_errno(errno, "make '" + place + "'");
    }
    const container::MountOptions options = container::mount_options(mount.options);
    // Whether it is read-only is each container's own.
    const unsigned long flags = options.flags & ~static_cast<unsigned long>(MS_RDONLY);
    if (::mount("tmpfs", place.c_str(), "tmpfs", flags, options.data.c_str()) != 0) {
        Error error = Error::from_errno(errno, "tmpfs");
        (void)::rmdir(place.c_str());
        return error;
    }
    return {};
}

Result<void> share(MountSpec& mount, const std::string& directory) {
    const std::string name = mount.source.substr(kOfPod.size());
    if (name.empty() || name.find_first_not_of(kLetters) != std::string::npos) {
        return Error(Code::InvalidArgument, "source '" + mount.source + "'");
    }
    TRY(make_directory(directory, 0700));
    const std::string place = directory + "/" + name;
    TRY(make(place, mount));
    mount.type = "bind";
    mount.tree = TreePath{.tag = place, .path = ""};
    return {};
}

}  // namespace

Result<void> share_memory(ContainerSpec& spec, const std::string& directory) {
    for (MountSpec& mount : spec.mounts) {
        if (mount.type == "tmpfs" && mount.source.starts_with(kOfPod)) {
            TRY(share(mount, directory), "mount '", mount.destination, "'");
        }
    }
    return {};
}

}  // namespace pepita::runtime::guest
