#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"

namespace pepita::runtime::container {

/// The root file system of one container. All of it is mounted in the container's own mount
/// namespace, below a tmpfs over the staging directory, so that nothing of it is seen from outside,
/// and it is released with the container's last process.
struct RootMounts {
    RootSpec spec;
    std::string device;          // of spec.disk
    std::string scratch_device;  // of spec.scratch_disk
    std::string staging_directory;
    std::string staging_size = {};  // NOLINT(readability-redundant-member-init): tmpfs's own
    Trees trees = Trees::VirtioFs;
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::string shared_mounts = {};  // as of Container::Options
    bool has_no_devices = false;     // device nodes of an image are none of the container's
    std::map<std::string, std::string> image_devices = {};  // of mounts, by serial
    // NOLINTEND(readability-redundant-member-init)
    FdRef id_mapping{-1};  // a user namespace whose ids the images have; -1: the caller's
};

/// Errors: InvalidArgument for a root that is neither or both, or cannot be written in that way.
Result<void> check_root(const RootSpec& spec);

/// The calls below run in the child, in a mount namespace of its own.

struct MountedRoot {
    std::string path;
    /// Copies of the mounts that are in trees and images, with their options, mounted nowhere yet;
    /// no descriptor for a mount of neither.
    std::vector<Fd> trees;
};
/// Mounts the image or the tree, and over it what takes the writes.
/// Errors: name the mount; AlreadyExists where the directory on the scratch disk has been another
/// container's. Sends Claimed when it has made that.
Result<MountedRoot> mount_root(const RootMounts& root, const std::vector<MountSpec>& mounts,
                               FdRef control);

/// Removes the container's directory on the scratch disk.
Result<void> clean_scratch(const RootMounts& root);

}  // namespace pepita::runtime::container
