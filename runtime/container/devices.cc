#include "runtime/container/devices.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/files.h"

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

constexpr std::array kLinks{
    std::pair{"/dev/fd", "/proc/self/fd"}, std::pair{"/dev/stdin", "/proc/self/fd/0"},
    std::pair{"/dev/stdout", "/proc/self/fd/1"}, std::pair{"/dev/stderr", "/proc/self/fd/2"},
    std::pair{"/dev/ptmx", "pts/ptmx"}};

Result<void> make_node(const std::string& path, mode_t mode, dev_t device) {
    if (::mknod(path.c_str(), mode, device) == 0) {
        // mknod(2) heeds the umask; a device's mode is meant as it stands.
        if (::chmod(path.c_str(), mode & 07777U) != 0) {
            return Error::from_errno(errno, "change the mode of '" + path + "'");
        }
        return {};
    }
    if (errno == EEXIST) {
        return {};
    }
    return Error::from_errno(errno, "make device '" + path + "'");
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

Result<void> make_device(const DeviceSpec& device) {
    const std::size_t slash = device.path.rfind('/');
    if (slash != 0 && slash != std::string::npos) {
        TRY(make_directories(device.path.substr(0, slash)));
    }
    TRY(make_node(
        device.path, type_of(device.type) | (device.file_mode & 07777U),
        ::makedev(static_cast<unsigned>(device.major), static_cast<unsigned>(device.minor))));
    if (::lchown(device.path.c_str(), device.uid, device.gid) != 0) {
        return Error::from_errno(errno, "give device '" + device.path + "' to its owner");
    }
    return {};
}

}  // namespace

Result<void> make_devices(const std::vector<DeviceSpec>& devices) {
    // On a read-only root without a /dev of its own there is what the image has.
    if (::access("/dev", W_OK) != 0) {
        return {};
    }
    for (const Node& node : kNodes) {
        TRY(make_node(node.path, S_IFCHR | 0666, ::makedev(node.major, node.minor)));
    }
    for (const auto& [path, target] : kLinks) {
        if (::symlink(target, path) != 0 && errno != EEXIST) {
            return Error::from_errno(errno, std::string("make link '") + path + "'");
        }
    }
    for (const DeviceSpec& device : devices) {
        TRY(make_device(device));
    }
    return {};
}

}  // namespace pepita::runtime::container
