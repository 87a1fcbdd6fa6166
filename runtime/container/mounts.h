#pragma once

#include <string>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// mount(2)'s flags and data from OCI mount options (those of mount(8)); an option that is no flag
/// is the file system's own and goes into `data`.
struct MountOptions {
    unsigned long flags = 0;
    std::string data;

    friend bool operator==(const MountOptions&, const MountOptions&) = default;
};
MountOptions mount_options(const std::vector<std::string>& options);

/// The calls below run in the child, with the container's root as "/", and resolve paths as
/// inside.h says: whatever symbolic links an image has, they lead nowhere else.

/// Makes the mount point if need be and mounts. Errors: name the destination; Unsupported for a
/// type that is not proc, sysfs, tmpfs, devpts, mqueue or cgroup (version 2). A proc or sysfs whose
/// destination is a symbolic link is refused, because it would not be where others look for it.
Result<void> mount_one(const MountSpec& mount);

/// Hides a file behind /dev/null, a directory behind an empty read-only tmpfs. Absent is fine.
/// Errors: FailedPrecondition where the container's /dev/null is something else.
Result<void> mask_path(const std::string& path);

/// Absent is fine.
Result<void> make_read_only(const std::string& path);

/// Makes `root` the root of this mount namespace and drops the old one.
Result<void> enter_root(const std::string& root);

}  // namespace pepita::runtime::container
