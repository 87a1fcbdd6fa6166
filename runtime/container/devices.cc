#include "runtime/container/devices.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/inside.h"
#include "runtime/container/mounts.h"

namespace pepita::runtime::container {
namespace {

struct Node {
    const char* path;
    unsigned major;
    unsigned minor;
};

// Linux Documentation/admin-guide/devices.txt
constexpr std::array kNodes{Node{.path = "/dev/null", .major = 1, .minor = 3},
                            Node{.path = "/dev/zero", .major = 1, .minor = 5},
                            Node{.path = "/dev/full", .major = 1, .minor = 7},
                            Node{.path = "/dev/random", .major = 1, .minor = 8},
                            Node{.path = "/dev/urandom", .major = 1, .minor = 9},
                            Node{.path = "/dev/tty", .major = 5, .minor = 0}};

constexpr std::array kLinks{std::pair{"fd", "/proc/self/fd"}, std::pair{"stdin", "/proc/self/fd/0"},
                            std::pair{"stdout", "/proc/self/fd/1"},
                            std::pair{"stderr", "/proc/self/fd/2"}, std::pair{"ptmx", "pts/ptmx"}};

/// Always the link of the container's own devpts, as in runc: the multiplexer of another instance
/// would open terminals that the container does not see.
constexpr std::string_view kMultiplexer = "/dev/ptmx";

// Where a node is made: its directory, and its name there.
struct Place {
    Fd directory;
    std::string name;
};

Result<Place> place_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos || slash + 1 == path.size()) {
        return Error(Code::InvalidArgument, "device '" + path + "' has no absolute path");
    }
    return Place{
        .directory = TRY(open_or_make_directory(path.substr(0, slash)), "device '", path, "'"),
        .name = path.substr(slash + 1)};
}

// What the image has there already will do if it is the very same device.
Result<void> check_node(const Place& place, const std::string& path, mode_t type, dev_t device) {
    struct stat about{};
    if (::fstatat(place.directory.ref().number(), place.name.c_str(), &about,
                  AT_SYMLINK_NOFOLLOW) != 0) {
        return Error::from_errno(errno, "device '" + path + "'");
    }
    if ((about.st_mode & S_IFMT) != type || about.st_rdev != device) {
        return Error(Code::FailedPrecondition,
                     "device '" + path + "': the image has something else there");
    }
    return {};
}

struct Owner {
    uid_t uid = 0;
    gid_t gid = 0;
};

// The old root's node of that path, which is where the kernel's are.
Result<void> bind_node(FdRef old_root, const std::string& path, mode_t type, dev_t device) {
    open_how how{};
    how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const Fd node(static_cast<int>(
        ::syscall(SYS_openat2, old_root.number(), path.c_str(), &how, sizeof(how))));
    struct stat about{};
    if (!node || ::fstat(node.ref().number(), &about) != 0 || (about.st_mode & S_IFMT) != type ||
        about.st_rdev != device) {
        return Error(Code::Unsupported, "device '" + path +
                                            "': a user namespace may not make it, and the machine "
                                            "has no such node");
    }
    const Fd copy = TRY(copy_mount(node.ref(), 0), "device '", path, "'");
    const Fd target = TRY(open_or_make_file(path), "device '", path, "'");
    return attach_mount(copy.ref(), target.ref(), "bind device '" + path + "'");
}

Result<void> make_node(const std::string& path, mode_t mode, dev_t device, Owner owner,
                       std::optional<FdRef> nodes_of) {
    if (nodes_of && !S_ISFIFO(mode)) {
        return bind_node(*nodes_of, path, mode & S_IFMT, device);
    }
    const Place place = TRY(place_of(path));
    const int directory = place.directory.ref().number();
    // The umask is 0 while this runs.
    if (::mknodat(directory, place.name.c_str(), mode, device) != 0) {
        if (errno == EEXIST) {
            return check_node(place, path, mode & S_IFMT, device);
        }
        return Error::from_errno(errno, "make device '" + path + "'");
    }
    if (::fchownat(directory, place.name.c_str(), owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) != 0) {
        return Error::from_errno(errno, "give device '" + path + "' to its owner");
    }
    return {};
}

mode_t type_of(char type) {
    switch (type) {
        case 'b':
            return S_IFBLK;
        case 'p':
            return S_IFIFO;
        default:
            return S_IFCHR;
    }
}

Result<void> make_device(const DeviceSpec& device, std::optional<FdRef> nodes_of) {
    const mode_t type = type_of(device.type);
    const dev_t number = type == S_IFIFO ? 0
                                         : ::makedev(static_cast<unsigned>(device.major),
                                                     static_cast<unsigned>(device.minor));
    return make_node(device.path, type | (device.file_mode & 07777U), number,
                     {.uid = device.uid, .gid = device.gid}, nodes_of);
}

/// The default devices that the specification does not ask for itself. One that it asks for has
/// the mode and the owner that it says.
Result<void> make_default_nodes(const std::vector<DeviceSpec>& asked,
                                std::optional<FdRef> nodes_of) {
    for (const Node& node : kNodes) {
        if (std::ranges::find(asked, node.path, &DeviceSpec::path) == asked.end()) {
            TRY(make_node(node.path, S_IFCHR | 0666U, ::makedev(node.major, node.minor), {},
                          nodes_of));
        }
    }
    return {};
}

Result<void> make_links() {
    const Fd directory = TRY(open_inside("/dev", O_PATH | O_DIRECTORY));
    for (const auto& [name, target] : kLinks) {
        if (::symlinkat(target, directory.ref().number(), name) != 0 && errno != EEXIST) {
            return Error::from_errno(errno, std::string("make link '/dev/") + name + "'");
        }
    }
    return {};
}

// On a read-only root without a /dev of its own there is what the image has.
Result<bool> is_dev_writable() {
    Result<Fd> directory = open_or_make_directory("/dev");
    if (!directory && directory.error().sys_errno() == EROFS) {
        return false;
    }
    const Fd dev = TRY(std::move(directory));
    struct statvfs about{};
    if (::fstatvfs(dev.ref().number(), &about) != 0) {
        return Error::from_errno(errno, "stat '/dev'");
    }
    return (about.f_flag & ST_RDONLY) == 0;
}

}  // namespace

Result<void> make_devices(const std::vector<DeviceSpec>& devices, std::optional<FdRef> nodes_of) {
    if (TRY(is_dev_writable())) {
        TRY(make_default_nodes(devices, nodes_of));
        TRY(make_links());
    }
    for (const DeviceSpec& device : devices) {
        if (device.path != kMultiplexer) {
            TRY(make_device(device, nodes_of));
        }
    }
    return {};
}

}  // namespace pepita::runtime::container
