#pragma once

#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

/// Paths as the container sees them, for a process whose root is the container's. Symbolic links
/// and ".." of an image lead nowhere else, and links of procfs into another process's files
/// (/proc/1/root, /proc/self/fd/3) are not followed at all: openat2(2), RESOLVE_IN_ROOT and
/// RESOLVE_NO_MAGICLINKS.
/// Errors: name the path; NotFound, ELOOP for a link that is not followed.

/// open(2) without O_CREAT; close-on-exec.
Result<Fd> open_inside(const std::string& path, int flags);

/// The directory (or whatever else is there) as O_PATH; what is missing of its path is made, 0755.
Result<Fd> open_or_make_directory(const std::string& path);

/// The same for a file: one that is missing is made, empty.
Result<Fd> open_or_make_file(const std::string& path);

/// chdir(2) to a directory that is open.
Result<void> enter_directory(FdRef directory, const std::string& path);

}  // namespace pepita::runtime::container
