#pragma once

#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "shim/host_files.h"

/// What the child processes of HostFiles do.
namespace pepita::shim::shared_tree {

/// The tree as its server sees it.
inline constexpr const char* kTree = "/tree";

/// In the server's process, in new mount and pid namespaces: an empty tree and the libraries that
/// the server needs become the whole file system. `place` is a directory to begin at.
Result<void> enter(const std::string& place);

/// In a process of its own, in the mount namespace of the host: copies the mounts of `paths`, and
/// attaches them in `mounts`, the tree's mount namespace. An error leaves nothing.
Result<void> attach(FdRef mounts, const std::string& container,
                    const std::vector<SharedPath>& paths);

/// The reverse.
Result<void> detach(FdRef mounts, const std::string& container);

}  // namespace pepita::shim::shared_tree
