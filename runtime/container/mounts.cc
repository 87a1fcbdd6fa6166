#include "runtime/container/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/copy_tree.h"
#include "runtime/container/inside.h"
#include "runtime/container/outcome.h"
#include "runtime/oci/names.h"

namespace pepita::runtime::container {
namespace {

constexpr auto kTypes = std::to_array<std::string_view>(
    {"proc", "sysfs", "tmpfs", "devpts", "volume", "mqueue", "cgroup", "bind", MountSpec::kImage});

struct Attribute {
    unsigned long flag;
    std::uint64_t attribute;
};
constexpr std::array kAttributes{
    Attribute{.flag = MS_RDONLY, .attribute = MOUNT_ATTR_RDONLY},
    Attribute{.flag = MS_NOSUID, .attribute = MOUNT_ATTR_NOSUID},
    Attribute{.flag = MS_NODEV, .attribute = MOUNT_ATTR_NODEV},
    Attribute{.flag = MS_NOEXEC, .attribute = MOUNT_ATTR_NOEXEC},
    Attribute{.flag = MS_NOATIME, .attribute = MOUNT_ATTR_NOATIME},
    Attribute{.flag = MS_NODIRATIME, .attribute = MOUNT_ATTR_NODIRATIME},
    Attribute{.flag = MS_NOSYMFOLLOW, .attribute = MOUNT_ATTR_NOSYMFOLLOW}};

bool has_option(const std::vector<std::string>& options, std::string_view name) {
    return std::ranges::find(options, name) != options.end();
}

std::uint64_t propagation_of(const std::vector<std::string>& options) {
    if (shares_mounts(options)) {
        return MS_SHARED;
    }
    return has_option(options, "slave") || has_option(options, "rslave") ? MS_SLAVE : MS_PRIVATE;
}

bool is_absent(int sys_errno) { return sys_errno == ENOENT || sys_errno == ENOTDIR; }

void append_option(std::string& data, std::string_view option) {
    data.append(data.empty() ? "" : ",").append(option);
}

// As runc does: a tmpfs over a directory of the image keeps that directory's mode.
Result<void> keep_mode(FdRef directory, std::string& data) {
    if (data.starts_with("mode=") || data.contains(",mode=")) {
        return {};
    }
    struct stat about{};
    TRY(outcome(::fstat(directory.number(), &about), "stat"));
    std::array<char, 8> mode{};
    (void)std::snprintf(mode.data(), mode.size(), "%04o", about.st_mode & 07777U);
    append_option(data, std::string("mode=") + mode.data());
    return {};
}

Result<void> check_mount(const MountSpec& mount) {
    if (std::ranges::find(kTypes, mount.type) == kTypes.end()) {
        return Error(Code::Unsupported, "file systems of type '" + mount.type + "'");
    }
    if (!mount.destination.starts_with('/') ||
        mount.destination.find_first_not_of('/') == std::string::npos) {
        return Error(Code::InvalidArgument, "a mount point is an absolute path below '/'");
    }
    return {};
}

bool is_read_only_later(const MountSpec& mount, const MountOptions& options) {
    return mount.type == "tmpfs" && (options.flags & MS_RDONLY) != 0;
}

Result<bool> is_directory(FdRef fd) {
    struct stat about{};
    TRY(outcome(::fstat(fd.number(), &about), "stat"));
    return S_ISDIR(about.st_mode);
}

Result<void> attach_tree(const MountSpec& mount, const Fd& tree) {
    if (!tree) {
        return Error(Code::Unsupported, "a mount of what is in no tree");
    }
    const Fd target = TRY(TRY(is_directory(tree.ref())) ? open_or_make_directory(mount.destination)
                                                        : open_or_make_file(mount.destination));
    return attach_mount(tree.ref(), target.ref(), "bind");
}

// A mount of its own has flags of its own.
Result<void> attach_volume(const MountSpec& mount) {
    const Fd place = TRY(open_or_make_directory(mount.destination));
    if (!TRY(is_directory(place.ref()))) {
        return Error::from_errno(ENOTDIR, "the image's");
    }
    const Fd copy = TRY(copy_mount(place.ref(), mount_attributes(mount.options)));
    return attach_mount(copy.ref(), place.ref(), "mount it on itself");
}

Result<void> mount_at_destination(const MountSpec& mount, const Fd& tree) {
    TRY(check_mount(mount));
    if (mount.type == "bind" || mount.type == MountSpec::kImage) {
        return attach_tree(mount, tree);
    }
    if (mount.type == "volume") {
        return attach_volume(mount);
    }
    MountOptions options = mount_options(mount.options);
    // The last part alone is looked at as it stands: /var/run may well be a link.
    Result<Fd> found = open_inside(mount.destination, O_PATH | O_NOFOLLOW);
    if (found && (mount.type == "proc" || mount.type == "sysfs")) {
        struct stat about{};
        TRY(outcome(::fstat(found->ref().number(), &about), "stat"));
        if (S_ISLNK(about.st_mode)) {
            return Error(Code::InvalidArgument, "the image has a symbolic link there");
        }
    }
    const Fd target = TRY(open_or_make_directory(mount.destination));
    if (found && mount.type == "tmpfs") {
        TRY(keep_mode(target.ref(), options.data));
    }
    if (is_read_only_later(mount, options)) {
        options.flags &= ~static_cast<unsigned long>(MS_RDONLY);
    }
    const std::string type = mount.type == "cgroup" ? "cgroup2" : mount.type;
    const std::string& source = mount.source.empty() ? type : mount.source;
    TRY(enter_directory(target.ref(), mount.destination));
    TRY(outcome(::mount(source.c_str(), ".", type.c_str(), options.flags, options.data.c_str()),
                type));
    if (options.copies_up) {
        // What was opened before the mount is what lies beneath.
        TRY(copy_tree(target.ref(), TRY(open_inside(mount.destination, O_PATH)).ref()),
            "copy up what is there");
    }
    return outcome(::chdir("/"), "enter '/'");
}

// Of this mount alone.
Result<void> set_read_only(FdRef mount) {
    mount_attr change{};
    change.attr_set = MOUNT_ATTR_RDONLY;
    return outcome(::mount_setattr(mount.number(), "", AT_EMPTY_PATH, &change, sizeof(change)),
                   "set read-only");
}

// What hides a file has to be the null device and not whatever the image has by that name, or
// masking would show more than it hides.
Result<Fd> find_null() {
    Fd null = TRY(open_inside("/dev/null", O_PATH | O_NOFOLLOW));
    struct stat about{};
    if (::fstat(null.ref().number(), &about) != 0 || !S_ISCHR(about.st_mode) ||
        about.st_rdev != ::makedev(1, 3)) {
        return Error(Code::FailedPrecondition, "'/dev/null' is not the null device");
    }
    return null;
}

}  // namespace

MountOptions mount_options(const std::vector<std::string>& options) {
    MountOptions result;
    for (const std::string& option : options) {
        const auto flags = oci::mount_flags();
        const auto known = std::ranges::find(flags, option, &oci::MountFlag::name);
        if (known != flags.end()) {
            result.flags = (result.flags & ~known->clear) | known->set;
        } else if (option == oci::kCopyUp) {
            result.copies_up = true;
        } else {
            append_option(result.data, option);
        }
    }
    return result;
}

std::uint64_t mount_attributes(const std::vector<std::string>& options) {
    const unsigned long flags = mount_options(options).flags;
    std::uint64_t attributes = 0;
    for (const Attribute& known : kAttributes) {
        attributes |= (flags & known.flag) != 0 ? known.attribute : 0;
    }
    return attributes;
}

Result<Fd> copy_mount(FdRef fd, std::uint64_t attributes) {
    Fd copy(::open_tree(fd.number(), "",
                        AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    TRY(outcome(copy ? 0 : -1, "copy a mount"));
    mount_attr change{};
    change.attr_set = attributes;
    TRY(outcome(::mount_setattr(copy.ref().number(), "", AT_EMPTY_PATH, &change, sizeof(change)),
                "set the attributes of a mount"));
    return copy;
}

Result<void> map_mount_ids(FdRef mount, FdRef user_namespace) {
    mount_attr change{};
    change.attr_set = MOUNT_ATTR_IDMAP;
    change.userns_fd = static_cast<decltype(change.userns_fd)>(user_namespace.number());
    return outcome(::mount_setattr(mount.number(), "", AT_EMPTY_PATH, &change, sizeof(change)),
                   "map the ids of a mount");
}

bool shares_mounts(const std::vector<std::string>& options) {
    return has_option(options, "shared") || has_option(options, "rshared");
}

Result<Fd> copy_host_mount(FdRef fd, const std::vector<std::string>& options) {
    const unsigned below = has_option(options, "rbind") ? AT_RECURSIVE : 0U;
    Fd copy(
        ::open_tree(fd.number(), "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | below));
    TRY(outcome(copy ? 0 : -1, "copy a mount"));
    mount_attr change{};
    change.propagation = propagation_of(options);
    TRY(outcome(::mount_setattr(copy.ref().number(), "", AT_EMPTY_PATH | AT_RECURSIVE, &change,
                                sizeof(change)),
                "set the propagation of a mount"));
    std::vector<std::string> recursive;
    for (const std::string& option : options) {
        if (option.starts_with('r')) {
            recursive.push_back(option.substr(1));
        }
    }
    change = {};
    change.attr_set = mount_attributes(recursive);
    TRY(outcome(::mount_setattr(copy.ref().number(), "", AT_EMPTY_PATH | AT_RECURSIVE, &change,
                                sizeof(change)),
                "set the attributes of mounts"));
    change.attr_set = mount_attributes(options);
    TRY(outcome(::mount_setattr(copy.ref().number(), "", AT_EMPTY_PATH, &change, sizeof(change)),
                "set the attributes of a mount"));
    return copy;
}

Result<void> attach_mount(FdRef mount, FdRef target, const std::string& doing) {
    return outcome(::move_mount(mount.number(), "", target.number(), "",
                                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
                   doing);
}

Result<void> mount_one(const MountSpec& mount, const Fd& tree) {
    TRY(mount_at_destination(mount, tree), "mount '", mount.destination, "'");
    return {};
}

Result<void> finish_mounts(const std::vector<MountSpec>& mounts) {
    for (const MountSpec& mount : mounts) {
        if (is_read_only_later(mount, mount_options(mount.options))) {
            TRY(set_read_only(TRY(open_inside(mount.destination, O_PATH)).ref()), "mount '",
                mount.destination, "'");
        }
    }
    return {};
}

Result<void> make_root_read_only() {
    TRY(set_read_only(TRY(open_inside("/", O_PATH)).ref()), "make the root read-only");
    return {};
}

Result<void> mask_path(const std::string& path) {
    const std::string doing = "mask '" + path + "'";
    Result<Fd> found = open_inside(path, O_PATH);
    if (!found && is_absent(found.error().sys_errno())) {
        return {};
    }
    const Fd target = TRY(std::move(found), doing);
    struct stat about{};
    TRY(outcome(::fstat(target.ref().number(), &about), doing));
    if (!S_ISDIR(about.st_mode)) {
        const Fd null = TRY(find_null(), doing);
        const Fd copy = TRY(copy_mount(null.ref(), 0), doing);
        return attach_mount(copy.ref(), target.ref(), doing);
    }
    TRY(enter_directory(target.ref(), path), doing);
    TRY(outcome(::mount("tmpfs", ".", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                        "size=4k,nr_inodes=2"),
                doing));
    return outcome(::chdir("/"), doing);
}

Result<void> make_read_only(const std::string& path) {
    const std::string doing = "make '" + path + "' read-only";
    Result<Fd> found = open_inside(path, O_PATH);
    if (!found && is_absent(found.error().sys_errno())) {
        return {};
    }
    const Fd target = TRY(std::move(found), doing);
    const Fd copy = TRY(copy_mount(target.ref(), MOUNT_ATTR_RDONLY), doing);
    return attach_mount(copy.ref(), target.ref(), doing);
}

Result<void> enter_root(const std::string& root) {
    const std::string doing = "make '" + root + "' the root";
    TRY(outcome(::chdir(root.c_str()), doing));
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, and goes.
    TRY(outcome(static_cast<int>(::syscall(SYS_pivot_root, ".", ".")), doing));
    TRY(outcome(::umount2(".", MNT_DETACH), "leave the old root"));
    return outcome(::chdir("/"), "enter the root");
}

Result<NestedRoot> nest_root(const std::string& place, FdRef root) {
    const std::string doing = "make a place for the root";
    NestedRoot nested;
    TRY(outcome(::mount("tmpfs", place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                        "size=4k,mode=0700"),
                doing));
    TRY(outcome(::chdir(place.c_str()), doing));
    TRY(outcome(::mkdir("old", 0700), doing));
    TRY(outcome(::mkdir("new", 0700), doing));
    nested.top = TRY(open_file(".", O_PATH | O_DIRECTORY));
    nested.old = TRY(open_file("/", O_PATH | O_DIRECTORY));
    const Fd target = TRY(open_file("new", O_PATH | O_DIRECTORY));
    TRY(attach_mount(root, target.ref(), "mount the root"));
    TRY(outcome(static_cast<int>(::syscall(SYS_pivot_root, ".", "old")), doing));
    TRY(outcome(::chroot("new"), "enter the root"));
    TRY(outcome(::chdir("/"), "enter the root"));
    return nested;
}

Result<void> leave_old_root(const NestedRoot& nested) {
    TRY(outcome(::fchdir(nested.top.ref().number()), "leave the old root"));
    TRY(outcome(::umount2("old", MNT_DETACH), "leave the old root"));
    TRY(outcome(::chroot("."), "leave the old root"));
    return enter_root("new");
}

}  // namespace pepita::runtime::container
