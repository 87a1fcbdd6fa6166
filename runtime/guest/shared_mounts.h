#pragma once

#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::guest {

/// Makes below `directory` what the containers of a pod share, for the first that has it; it stays.
/// In `spec`, directories there then stand in place of each tmpfs whose source is "pod:NAME", and
/// of each tag of a virtio-fs device: a tag that is mounted again, once files of the host have been
/// mounted below it, may be one of those (Linux finds its superblock by the connection alone).
/// Errors: name the mount.
Result<void> share_mounts(ContainerSpec& spec, const std::string& directory);

}  // namespace pepita::runtime::guest
