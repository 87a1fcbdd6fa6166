#include "runtime/container/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/files.h"

namespace pepita::runtime::container {
namespace {

struct Option {
    std::string_view name;
    unsigned long set;
    unsigned long clear;
};

constexpr std::array kOptions{Option{.name = "defaults", .set = 0, .clear = 0},
                              Option{.name = "ro", .set = MS_RDONLY, .clear = 0},
                              Option{.name = "rw", .set = 0, .clear = MS_RDONLY},
                              Option{.name = "nosuid", .set = MS_NOSUID, .clear = 0},
                              Option{.name = "suid", .set = 0, .clear = MS_NOSUID},
                              Option{.name = "nodev", .set = MS_NODEV, .clear = 0},
                              Option{.name = "dev", .set = 0, .clear = MS_NODEV},
                              Option{.name = "noexec", .set = MS_NOEXEC, .clear = 0},
                              Option{.name = "exec", .set = 0, .clear = MS_NOEXEC},
                              Option{.name = "sync", .set = MS_SYNCHRONOUS, .clear = 0},
                              Option{.name = "async", .set = 0, .clear = MS_SYNCHRONOUS},
                              Option{.name = "dirsync", .set = MS_DIRSYNC, .clear = 0},
                              Option{.name = "mand", .set = MS_MANDLOCK, .clear = 0},
                              Option{.name = "nomand", .set = 0, .clear = MS_MANDLOCK},
                              Option{.name = "atime", .set = 0, .clear = MS_NOATIME},
                              Option{.name = "noatime", .set = MS_NOATIME, .clear = 0},
                              Option{.name = "diratime", .set = 0, .clear = MS_NODIRATIME},
                              Option{.name = "nodiratime", .set = MS_NODIRATIME, .clear = 0},
                              Option{.name = "relatime", .set = MS_RELATIME, .clear = 0},
                              Option{.name = "norelatime", .set = 0, .clear = MS_RELATIME},
                              Option{.name = "strictatime", .set = MS_STRICTATIME, .clear = 0},
                              Option{.name = "nostrictatime", .set = 0, .clear = MS_STRICTATIME},
                              Option{.name = "silent", .set = MS_SILENT, .clear = 0},
                              Option{.name = "loud", .set = 0, .clear = MS_SILENT},
                              Option{.name = "iversion", .set = MS_I_VERSION, .clear = 0},
                              Option{.name = "noiversion", .set = 0, .clear = MS_I_VERSION}};

Error mount_error(int sys_errno, const std::string& path) {
    return Error::from_errno(sys_errno, "mount '" + path + "'");
}

// The flags of a mount that a remount has to repeat, or the kernel refuses to drop them.
unsigned long flags_of(const std::string& path) {
    struct statvfs about{};
    if (::statvfs(path.c_str(), &about) != 0) {
        return 0;
    }
    unsigned long flags = 0;
    flags |= (about.f_flag & ST_NOSUID) != 0 ? MS_NOSUID : 0;
    flags |= (about.f_flag & ST_NODEV) != 0 ? MS_NODEV : 0;
    flags |= (about.f_flag & ST_NOEXEC) != 0 ? MS_NOEXEC : 0;
    flags |= (about.f_flag & ST_NOATIME) != 0 ? MS_NOATIME : 0;
    flags |= (about.f_flag & ST_NODIRATIME) != 0 ? MS_NODIRATIME : 0;
    flags |= (about.f_flag & ST_RELATIME) != 0 ? MS_RELATIME : 0;
    return flags;
}

bool is_absent(int sys_errno) { return sys_errno == ENOENT || sys_errno == ENOTDIR; }

}  // namespace

MountOptions mount_options(const std::vector<std::string>& options) {
    MountOptions result;
    for (const std::string& option : options) {
        const Option* known = nullptr;
        for (const Option& candidate : kOptions) {
            if (candidate.name == option) {
                known = &candidate;
            }
        }
        if (known != nullptr) {
            result.flags = (result.flags & ~known->clear) | known->set;
            continue;
        }
        result.data += (result.data.empty() ? "" : ",") + option;
    }
    return result;
}

Result<void> mount_one(const MountSpec& mount) {
    struct stat about{};
    if (::lstat(mount.destination.c_str(), &about) != 0) {
        TRY(make_directories(mount.destination), "mount '", mount.destination, "'");
    } else if (S_ISLNK(about.st_mode) && (mount.type == "proc" || mount.type == "sysfs")) {
        return Error(Code::InvalidArgument,
                     "mount '" + mount.destination + "': the image has a symbolic link there");
    }
    const MountOptions options = mount_options(mount.options);
    const std::string type = mount.type == "cgroup" ? "cgroup2" : mount.type;
    if (::mount(mount.source.c_str(), mount.destination.c_str(), type.c_str(), options.flags,
                options.data.c_str()) != 0) {
        return mount_error(errno, mount.destination);
    }
    return {};
}

Result<void> mask_path(const std::string& path) {
    struct stat about{};
    if (::stat(path.c_str(), &about) != 0 && is_absent(errno)) {
        return {};
    }
    const bool is_directory = S_ISDIR(about.st_mode);
    const int masked = is_directory ? ::mount("tmpfs", path.c_str(), "tmpfs", MS_RDONLY, "size=0k")
                                    : ::mount("/dev/null", path.c_str(), nullptr, MS_BIND, nullptr);
    if (masked != 0) {
        return Error::from_errno(errno, "mask '" + path + "'");
    }
    return {};
}

Result<void> make_read_only(const std::string& path) {
    if (::mount(path.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
        if (is_absent(errno)) {
            return {};
        }
        return Error::from_errno(errno, "make '" + path + "' read-only");
    }
    const unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | flags_of(path);
    if (::mount(nullptr, path.c_str(), nullptr, flags, nullptr) != 0) {
        return Error::from_errno(errno, "make '" + path + "' read-only");
    }
    return {};
}

Result<void> enter_root(const std::string& root) {
    // Nothing that is mounted here may reach the parent's namespace.
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        return mount_error(errno, "/");
    }
    if (::chdir(root.c_str()) != 0) {
        return Error::from_errno(errno, "enter '" + root + "'");
    }
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, and goes.
    if (::syscall(SYS_pivot_root, ".", ".") != 0) {
        return Error::from_errno(errno, "make '" + root + "' the root");
    }
    if (::umount2(".", MNT_DETACH) != 0) {
        return Error::from_errno(errno, "leave the old root");
    }
    if (::chdir("/") != 0) {
        return Error::from_errno(errno, "enter the root");
    }
    return {};
}

}  // namespace pepita::runtime::container
