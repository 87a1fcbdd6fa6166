#include "shim/shared_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/user_namespace.h"
#include "shim/host_files.h"

namespace pepita::shim::shared_tree {
namespace {

// The tree is two mounts of one tmpfs: read-only, with the host's files below it, for the server;
// and writable, for the making of mount points.
constexpr const char* kSkeleton = "/skeleton";
constexpr const char* kSkeletonData = "mode=0755,size=4m,nr_inodes=16k";
constexpr const char* kRootData = "mode=0755,size=64k,nr_inodes=32";

// What a dynamically linked program of a distribution needs: each as on the host, a directory or a
// link.
constexpr std::array kLibraries{"usr", "bin", "lib", "lib32", "lib64", "libx32", "sbin"};

constexpr std::uint64_t kRestricted = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

constexpr std::uint64_t kPrivate = MS_PRIVATE;
constexpr std::uint64_t kSlave = MS_SLAVE;

Result<void> outcome(long result, const std::string& doing) {
    if (result != 0) {
        return Error::from_errno(errno, doing);
    }
    return {};
}

struct Attributes {
    std::uint64_t set = 0;
    std::uint64_t propagation = 0;
    int flags = 0;  // AT_RECURSIVE
};

Result<void> set_attributes(FdRef mount, const Attributes& attributes) {
    mount_attr change{};
    change.attr_set = attributes.set;
    change.propagation = attributes.propagation;
    return outcome(
        ::mount_setattr(mount.number(), "", AT_EMPTY_PATH | static_cast<unsigned>(attributes.flags),
                        &change, sizeof(change)),
        "set the attributes of a mount");
}

/// A copy of the mount that `file` is on, with `file` as its top, attached nowhere.
Result<Fd> copy_of(FdRef file, unsigned recursive) {
    Fd copy(::open_tree(file.number(), "",
                        AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive));
    TRY(outcome(copy ? 0 : -1, "copy a mount"));
    return copy;
}

Result<void> attach_at(FdRef mount, const std::string& target) {
    return outcome(
        ::move_mount(mount.number(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH),
        "mount '" + target + "'");
}

Result<void> add_library(const std::string& root, const std::string& name) {
    const std::string source = "/" + name;
    const std::string target = root + source;
    std::array<char, PATH_MAX> link{};
    const ssize_t size = ::readlink(source.c_str(), link.data(), link.size() - 1);
    if (size > 0) {
        return outcome(::symlink(link.data(), target.c_str()), "make '" + target + "'");
    }
    const Fd directory(::open(source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) {
        return {};  // this distribution has none
    }
    const Fd copy = TRY(copy_of(directory.ref(), 0), "'", source, "'");
    TRY(set_attributes(copy.ref(), {.set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                                    .propagation = kPrivate}));
    TRY(outcome(::mkdir(target.c_str(), 0755), "make '" + target + "'"));
    return attach_at(copy.ref(), target);
}

Result<void> add_tree(const std::string& root) {
    const std::string skeleton = root + kSkeleton;
    const std::string tree = root + kTree;
    TRY(outcome(::mkdir(skeleton.c_str(), 0755), "make '" + skeleton + "'"));
    TRY(outcome(::mkdir(tree.c_str(), 0755), "make '" + tree + "'"));
    TRY(outcome(::mount("tmpfs", skeleton.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                        kSkeletonData),
                "mount the tree"));
    const Fd top = TRY(open_file(skeleton.c_str(), O_PATH | O_DIRECTORY));
    const Fd copy = TRY(copy_of(top.ref(), 0));
    TRY(set_attributes(copy.ref(), {.set = kRestricted | MOUNT_ATTR_RDONLY}));
    TRY(attach_at(copy.ref(), tree));
    // The server's own namespace, which it makes later, follows this one.
    return outcome(::mount(nullptr, tree.c_str(), nullptr, MS_SHARED, nullptr), "share the tree");
}

Result<void> add_proc(const std::string& root) {
    const std::string target = root + "/proc";
    TRY(outcome(::mkdir(target.c_str(), 0755), "make '" + target + "'"));
    return outcome(
        ::mount("proc", target.c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr),
        "mount '" + target + "'");
}

struct Copied {
    std::string name;
    Fd mount;
    bool is_directory = false;
};

Result<Fd> open_source(const SharedPath& path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = path.links == SharedPath::Links::Refused ? RESOLVE_NO_SYMLINKS : 0;
    Fd file(
        static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.source.c_str(), &how, sizeof(how))));
    if (!file) {
        return Error::from_errno(errno, "open it");
    }
    return file;
}

// Of this mount alone, as runc does: what is mounted below may not be able to.
Result<void> map_ids(FdRef mount, const SharedPath& path) {
    const Fd ids = TRY(make_user_namespace(path.uid_mappings, path.gid_mappings));
    mount_attr change{};
    change.attr_set = MOUNT_ATTR_IDMAP;
    change.userns_fd = static_cast<decltype(change.userns_fd)>(ids.ref().number());
    return outcome(::mount_setattr(mount.number(), "", AT_EMPTY_PATH, &change, sizeof(change)),
                   "map ids, which its file system may not support");
}

Result<Copied> copy_source(const SharedPath& path) {
    const Fd file = TRY(open_source(path));
    struct stat about{};
    TRY(outcome(::fstat(file.ref().number(), &about), "stat it"));
    if (S_ISCHR(about.st_mode) || S_ISBLK(about.st_mode)) {
        return Error(Code::Unsupported, "a device of the host is none of the guest");
    }
    const unsigned recursive = path.has_submounts ? AT_RECURSIVE : 0;
    Copied copied{.name = path.name,
                  .mount = TRY(copy_of(file.ref(), recursive)),
                  .is_directory = S_ISDIR(about.st_mode)};
    const FdRef mount = copied.mount.ref();
    // Nothing that is mounted here reaches the host.
    TRY(set_attributes(mount, {.set = kRestricted,
                               .propagation = path.follows_host ? kSlave : kPrivate,
                               .flags = AT_RECURSIVE}));
    if (!path.uid_mappings.empty()) {
        TRY(map_ids(mount, path));
    }
    if (path.access != SharedPath::Access::ReadWrite) {
        const bool is_deep = path.access == SharedPath::Access::ReadOnlyBelow;
        TRY(set_attributes(mount, {.set = MOUNT_ATTR_RDONLY, .flags = is_deep ? AT_RECURSIVE : 0}));
    }
    return copied;
}

std::string in_skeleton(const std::string& path) { return std::string(kSkeleton) + "/" + path; }
std::string in_tree(const std::string& path) { return std::string(kTree) + "/" + path; }

Result<void> attach_copy(const std::string& container, const Copied& copied) {
    const std::string path = container + "/" + copied.name;
    const std::string point = in_skeleton(path);
    TRY(outcome(copied.is_directory ? ::mkdir(point.c_str(), 0755)
                                    : ::mknod(point.c_str(), S_IFREG | 0644, 0),
                "make '" + path + "'"));
    return attach_at(copied.mount.ref(), in_tree(path));
}

Result<void> attach_copies(const std::string& container, const std::vector<Copied>& copies) {
    TRY(outcome(::mkdir(in_skeleton(container).c_str(), 0755), "make '" + container + "'"));
    for (const Copied& copied : copies) {
        TRY(attach_copy(container, copied));
    }
    return {};
}

Result<void> detach_here(const std::string& container) {
    const std::string skeleton = in_skeleton(container);
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(skeleton.c_str()), ::closedir);
    if (!entries) {
        return errno == ENOENT ? Result<void>()
                               : Error::from_errno(errno, "open '" + container + "'");
    }
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") {
            continue;
        }
        const std::string path = container + "/" + entry->d_name;
        // Lazily: the server forgets a file when the guest does, which may be later.
        if (::umount2(in_tree(path).c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 &&
            errno != EINVAL) {
            return Error::from_errno(errno, "unmount '" + path + "'");
        }
        const int is_directory = entry->d_type == DT_DIR ? AT_REMOVEDIR : 0;
        TRY(outcome(::unlinkat(AT_FDCWD, in_skeleton(path).c_str(), is_directory),
                    "remove '" + path + "'"));
    }
    return outcome(::rmdir(skeleton.c_str()), "remove '" + container + "'");
}

Result<void> enter_namespace(FdRef mounts) {
    return outcome(::setns(mounts.number(), CLONE_NEWNS), "enter the tree's mount namespace");
}

}  // namespace

Result<void> enter(const std::string& place) {
    TRY(outcome(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make / private"));
    TRY(outcome(::mount("tmpfs", place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, kRootData),
                "mount a root"));
    for (const char* name : kLibraries) {
        TRY(add_library(place, name));
    }
    TRY(add_proc(place));
    TRY(add_tree(place));
    TRY(outcome(::mount(nullptr, place.c_str(), nullptr,
                        MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr),
                "make the root read-only"));
    TRY(outcome(::chdir(place.c_str()), "enter the root"));
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, and goes.
    TRY(outcome(::syscall(SYS_pivot_root, ".", "."), "pivot_root"));
    TRY(outcome(::umount2(".", MNT_DETACH), "unmount the host's root"));
    return outcome(::chdir("/"), "enter the root");
}

Result<void> attach(FdRef mounts, const std::string& container,
                    const std::vector<SharedPath>& paths) {
    std::vector<Copied> copies;
    copies.reserve(paths.size());
    for (const SharedPath& path : paths) {
        copies.push_back(TRY(copy_source(path), "'", path.source, "'"));
    }
    TRY(enter_namespace(mounts));
    Result<void> attached = attach_copies(container, copies);
    if (!attached) {
        (void)detach_here(container);
    }
    return attached;
}

Result<void> detach(FdRef mounts, const std::string& container) {
    TRY(enter_namespace(mounts));
    return detach_here(container);
}

}  // namespace pepita::shim::shared_tree
