#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// mount(2)'s flags and data from OCI mount options (those of mount(8)); an option that is no flag
/// is the file system's own and goes into `data`.
struct MountOptions {
    unsigned long flags = 0;
    std::string data;
    bool copies_up = false;

    friend bool operator==(const MountOptions&, const MountOptions&) = default;
};
MountOptions mount_options(const std::vector<std::string>& options);

/// The flags among the options as attributes of one mount (MOUNT_ATTR_*), for a bind mount.
std::uint64_t mount_attributes(const std::vector<std::string>& options);

/// A copy of the mount at `fd`, of this file or directory and what is mounted below, with more
/// attributes, mounted nowhere yet.
Result<Fd> copy_mount(FdRef fd, std::uint64_t attributes);

/// Has what copy_mount() gave show the ids inside of a user namespace as those outside.
/// Errors: InvalidArgument where its file system cannot.
Result<void> map_mount_ids(FdRef mount, FdRef user_namespace);

/// The same of a mount of the host, by the options of a bind: "rbind" brings what is mounted below,
/// a flag after "r" is for that, too; it is private unless they say how mounts go to and fro.
Result<Fd> copy_host_mount(FdRef fd, const std::vector<std::string>& options);

/// Whether mounts that are made in a bind with these options are to appear where it comes from.
bool shares_mounts(const std::vector<std::string>& options);

/// Mounts what copy_mount() gave at `target`.
Result<void> attach_mount(FdRef mount, FdRef target, const std::string& doing);

/// The calls below run in the child, with the container's root as "/", and resolve paths as
/// inside.h says: whatever symbolic links an image has, they lead nowhere else.

/// Makes the mount point if need be and mounts; `tree` is what a bind or an image mounts. A tmpfs
/// that is to be read-only is writable until finish_mounts(), so that mount points and devices can
/// be made in it. Errors: name the destination; Unsupported for a type that is not proc, sysfs,
/// tmpfs, devpts, mqueue, cgroup (version 2), bind, image or volume. A proc or sysfs whose
/// destination is a symbolic link is refused, because it would not be where others look for it.
Result<void> mount_one(const MountSpec& mount, const Fd& tree);

/// Makes every tmpfs read-only that is to be.
Result<void> finish_mounts(const std::vector<MountSpec>& mounts);

/// Makes the root read-only, without what is mounted below.
Result<void> make_root_read_only();

/// Hides a file behind /dev/null, a directory behind an empty read-only tmpfs. Absent is fine.
/// Errors: FailedPrecondition where the container's /dev/null is something else.
Result<void> mask_path(const std::string& path);

/// Absent is fine.
Result<void> make_read_only(const std::string& path);

/// Makes `root`, a mount, the root of this mount namespace; the old one goes.
Result<void> enter_root(const std::string& root);

/// The root of a process that has its old root still: `top` holds both, and only what has its
/// descriptor gets out of the new one.
struct NestedRoot {
    Fd top;
    Fd old;
};

/// As enter_root(), but the old root stays in the namespace until leave_old_root(): the kernel
/// mounts procfs and sysfs for a user namespace only where there is one that shows as much.
/// `place` is a directory of the old root, `root` a mount that is nowhere yet.
/// The old root does not lie on the new one, as pivot_root(".", ".") would leave it: there the ".."
/// of an image's links would lead to it.
Result<NestedRoot> nest_root(const std::string& place, FdRef root);
Result<void> leave_old_root(const NestedRoot& nested);

}  // namespace pepita::runtime::container
