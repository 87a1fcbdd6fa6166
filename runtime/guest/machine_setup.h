#pragma once

#include <string>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {

/// Where the initramfs lists the modules to load, one path a line, in order.
inline constexpr const char* kModuleList = "/etc/pepita/modules";
/// Where each container mounts its root, unseen by the others, and the cgroup that theirs are in.
inline constexpr const char* kStaging = "/run/pepita/staging";
inline constexpr const char* kShared = "/run/pepita/shared";
inline constexpr const char* kCgroup = "/sys/fs/cgroup/pepita";

/// Standard output and error go to the kernel's log from here on, and standard input is empty:
/// without a console the kernel gives init none of the three, and the next files that are opened
/// would be them. Mounts devtmpfs in the initramfs, which has at most a console.
Result<void> open_log();

/// Leaves the initramfs for a tmpfs, because pivot_root(2) refuses to leave an initramfs and every
/// container has to; mounts proc, sysfs, devtmpfs, devpts, tmpfs and cgroup v2 there.
Result<void> mount_file_systems();

/// As many descriptors as the kernel allows: GuestServer::kProcessesMax processes need more than
/// the 1024 that init starts with.
void raise_descriptor_limit();

/// Loads what `list` names. A module that is there already is fine; one that does not load is
/// reported, and the rest goes on: whoever needs it will say so. Before the initramfs is left.
Result<void> load_modules(const std::string& list);

/// Loopback up, controllers for containers, a host name.
Result<void> prepare_for_containers();

}  // namespace pepita::runtime::guest
