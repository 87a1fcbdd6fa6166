#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "kernel-abi/sys/result.h"

namespace pepita::shim {

/// Who a jailed process is: a user and group that nothing else on the node has.
struct JailUser {
    uid_t id;
};

/// The user for a machine of the shim with this pid: unique while the shim lives.
JailUser jail_user(pid_t shim);

/// CLONE_NEW* of a jailed process: nothing of the host's mounts, network, processes, IPC, names.
std::uint64_t jail_namespaces();

/// In the child, in new namespaces: makes `directory` the whole file system (no device nodes, no
/// programs, no set-uid), gives up every group, capability and user but `user`, and the way back
/// (no_new_privs). Descriptors and threads get limits, and there are no core files.
Result<void> enter_jail(const std::string& directory, JailUser user);

/// As enter_jail() for a program that needs its libraries and data files: only the user changes,
/// and the limits.
Result<void> drop_privileges(JailUser user);

}  // namespace pepita::shim
