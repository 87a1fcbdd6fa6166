#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {

/// Who a jailed process is: a user and group that nothing else on the node has.
struct JailUser {
    uid_t id;
};

/// A user of the node's that no other jail has, for as long as this lives.
struct HeldJailUser {
    JailUser user;
    Fd lock;  // on the user's byte of the file: the kernel gives it back, whatever ends the holder
};

/// Where the users that are taken are locked, for all pods of the node.
inline constexpr const char* kJailUsers = "/run/pepita/jail-users";

/// Takes one, looking from `first` on (modulo their number), so that nodes within nodes, which do
/// not see each other's file, are unlikely to meet either: give a random number.
/// Errors: ResourceExhausted where all are taken; the file must be root's alone.
Result<HeldJailUser> hold_jail_user(const std::string& file, std::uint32_t first);

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
