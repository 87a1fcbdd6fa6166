#include "runtime/container/root.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/control.h"
#include "runtime/container/mounts.h"
#include "runtime/container/outcome.h"

namespace pepita::runtime::container {
namespace {

struct Source {
    const char* type;
    std::string device;
    std::string data = {};  // NOLINT(readability-redundant-member-init): may be left out
    unsigned long flags = 0;
};

Result<void> mount_at(const std::string& target, const Source& source) {
    return outcome(::mount(source.device.c_str(), target.c_str(), source.type, source.flags,
                           source.data.c_str()),
                   std::string("mount ") + source.type + " from '" + source.device + "'");
}

Result<std::string> make_place(const RootMounts& root, const std::string& name) {
    std::string path = root.staging_directory + "/" + name;
    TRY(make_directory(path, 0755));
    return path;
}

Result<void> mount_scratch(const std::string& target, const std::string& device) {
    // Discarding gives the host its memory back as soon as a file is deleted. What the container
    // sees are the flags of the overlay, not these.
    return mount_at(target, {.type = "ext4",
                             .device = device,
                             .data = "discard,errors=remount-ro",
                             .flags = MS_NOATIME | MS_NODEV | MS_NOSUID});
}

// O_DIRECTORY makes the kernel mount what the host has mounted there (announce_submounts).
Result<Fd> open_in_tree(FdRef top, const std::string& path) {
    for (const int kind : {O_DIRECTORY, 0}) {
        open_how how{};
        how.flags = static_cast<std::uint64_t>(static_cast<unsigned>(O_PATH | O_CLOEXEC | kind));
        how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
        const char* below = path.empty() ? "." : path.c_str();
        Fd fd(static_cast<int>(::syscall(SYS_openat2, top.number(), below, &how, sizeof(how))));
        if (fd) {
            return fd;
        }
        if (errno != ENOTDIR) {
            break;
        }
    }
    return Error::from_errno(errno, "open '" + path + "'");
}

Result<Fd> find_in_tree(const TreePath& tree) {
    const Fd top = TRY(open_file(tree.tag.c_str(), O_PATH | O_DIRECTORY));
    return open_in_tree(top.ref(), tree.path);
}

// Of what is written above it the ids need no mapping: they are stored as its writers have them.
Result<void> map_ids_at(const RootMounts& root, const std::string& path) {
    if (root.id_mapping.number() < 0) {
        return {};
    }
    const Fd place = TRY(open_file(path.c_str(), O_PATH | O_DIRECTORY));
    const Fd copy = TRY(copy_mount(place.ref(), 0));
    TRY(map_mount_ids(copy.ref(), root.id_mapping));
    return attach_mount(copy.ref(), place.ref(), "mount it on itself");
}

Result<Fd> copy_of_image(const RootMounts& root, const MountSpec& mount,
                         const std::string& serial) {
    const auto device = root.image_devices.find(serial);
    if (device == root.image_devices.end()) {
        return Error(Code::Internal, "disk '" + serial + "' is not there");
    }
    std::string place = TRY(make_place(root, "images"));
    place += "/" + serial;
    if (::mkdir(place.c_str(), 0700) == 0) {
        TRY(mount_at(place, {.type = "erofs", .device = device->second, .flags = MS_RDONLY}));
    } else if (errno != EEXIST) {
        return Error::from_errno(errno, "make '" + place + "'");
    }
    const Fd top = TRY(open_file(place.c_str(), O_PATH | O_DIRECTORY));
    const Fd found = TRY(open_in_tree(top.ref(), mount.source), "image");
    Fd copy = TRY(copy_mount(found.ref(), mount_attributes(mount.options) | MOUNT_ATTR_RDONLY));
    if (root.id_mapping.number() >= 0) {
        TRY(map_mount_ids(copy.ref(), root.id_mapping));
    }
    return copy;
}

Result<void> enter_mounts(FdRef mounts) {
    return outcome(::setns(mounts.number(), CLONE_NEWNS), "enter a mount namespace");
}

// Of the namespace whose mounts are shared: a copy in ours would share with nobody.
Result<Fd> copy_shared(const RootMounts& root, const TreePath& tree,
                       const std::vector<std::string>& options) {
    const Fd own = TRY(open_file("/proc/self/ns/mnt", O_RDONLY));
    const Fd theirs = TRY(open_file(root.shared_mounts.c_str(), O_RDONLY));
    TRY(enter_mounts(theirs.ref()));
    const Fd found = TRY(find_in_tree(tree));
    Fd copy = TRY(copy_host_mount(found.ref(), options));
    TRY(enter_mounts(own.ref()));
    return copy;
}

Result<Fd> copy_of_tree(const RootMounts& root, const TreePath& tree,
                        const std::vector<std::string>& options) {
    if (!root.shared_mounts.empty() && shares_mounts(options)) {
        return copy_shared(root, tree, options);
    }
    const Fd found = TRY(find_in_tree(tree));
    return root.trees == Trees::Directories ? copy_host_mount(found.ref(), options)
                                            : copy_mount(found.ref(), mount_attributes(options));
}

Result<std::vector<Fd>> open_trees(const RootMounts& root, const std::vector<MountSpec>& mounts) {
    std::vector<Fd> trees(mounts.size());
    for (std::size_t i = 0; i < mounts.size(); ++i) {
        if (const auto& tree = mounts[i].tree) {
            trees[i] = TRY(copy_of_tree(root, *tree, mounts[i].options), "mount '",
                           mounts[i].destination, "'");
        }
    }
    return trees;
}

// In the staging directory's tmpfs.
Result<void> open_images(const RootMounts& root, const std::vector<MountSpec>& mounts,
                         std::vector<Fd>& opened) {
    for (std::size_t i = 0; i < mounts.size(); ++i) {
        const MountSpec& mount = mounts[i];
        if (const auto& disk = mount.disk) {
            opened[i] =
                TRY(copy_of_image(root, mount, disk->serial), "mount '", mount.destination, "'");
        }
    }
    return {};
}

unsigned long device_flags(const RootMounts& root) { return root.has_no_devices ? MS_NODEV : 0; }

Result<std::string> mount_lower(const RootMounts& root) {
    std::string lower = TRY(make_place(root, "lower"));
    const std::optional<TreePath>& tree = root.spec.tree;
    if (!tree) {
        TRY(mount_at(
            lower,
            {.type = "erofs", .device = root.device, .flags = MS_RDONLY | device_flags(root)}));
        TRY(map_ids_at(root, lower));
        return lower;
    }
    const bool is_written = root.spec.written_to == WrittenTo::InPlace;
    const Fd found = TRY(find_in_tree(*tree), "tree '", tree->tag, "'");
    const Fd copy =
        TRY(copy_mount(found.ref(), is_written ? 0 : MOUNT_ATTR_RDONLY), "tree '", tree->tag, "'");
    const Fd target = TRY(open_file(lower.c_str(), O_PATH | O_DIRECTORY));
    TRY(attach_mount(copy.ref(), target.ref(), "mount the tree"));
    return lower;
}

// The directory of the overlay's upper and work directories.
Result<std::string> make_writable(const RootMounts& root, FdRef control) {
    std::string writable = TRY(make_place(root, "writable"));
    if (root.spec.written_to == WrittenTo::Memory) {
        return writable;  // the staging tmpfs
    }
    TRY(mount_scratch(writable, root.scratch_device));
    if (!root.spec.scratch_directory.empty()) {
        writable += "/" + root.spec.scratch_directory;
        TRY(outcome(::mkdir(writable.c_str(), 0700),
                    "make '" + root.spec.scratch_directory + "' for what is written"));
        TRY(send_control(control, {.kind = ControlMessage::Kind::Claimed}));
    }
    return writable;
}

Result<std::string> mount_overlay(const RootMounts& root, const std::string& lower, FdRef control) {
    const std::string writable = TRY(make_writable(root, control));
    // They stay on the scratch disk. One that has them is another container's.
    for (const char* part : {"/upper", "/work"}) {
        TRY(outcome(::mkdir((writable + part).c_str(), 0755),
                    std::string("make '") + part + "' for what is written"));
    }
    // The root directory is that of the upper layer.
    struct stat about{};
    TRY(outcome(::stat(lower.c_str(), &about), "stat the root"));
    TRY(outcome(::chown((writable + "/upper").c_str(), about.st_uid, about.st_gid), "chown"));
    TRY(outcome(::chmod((writable + "/upper").c_str(), about.st_mode & 07777U), "chmod"));
    std::string merged = TRY(make_place(root, "root"));
    TRY(mount_at(merged, {.type = "overlay",
                          .device = "overlay",
                          .data = "lowerdir=" + lower + ",upperdir=" + writable +
                                  "/upper,workdir=" + writable + "/work",
                          .flags = device_flags(root)}));
    return merged;
}

Result<std::string> mount_all(const RootMounts& root, FdRef control) {
    TRY(mount_at(
        root.staging_directory,
        {.type = "tmpfs",
         .device = "tmpfs",
         .data = "mode=0700" + (root.staging_size.empty() ? "" : ",size=" + root.staging_size)}));
    std::string lower = TRY(mount_lower(root));
    switch (root.spec.written_to) {
        case WrittenTo::Nothing:
        case WrittenTo::InPlace:
            return lower;
        case WrittenTo::Memory:
        case WrittenTo::ScratchDisk:
            return mount_overlay(root, lower, control);
    }
    std::unreachable();
}

}  // namespace

Result<void> check_root(const RootSpec& spec) {
    if (spec.disk.has_value() == spec.tree.has_value()) {
        return Error(Code::InvalidArgument, "a root is either a disk or a tree");
    }
    if (spec.disk && spec.written_to == WrittenTo::InPlace) {
        return Error(Code::InvalidArgument, "an image is not written in place");
    }
    const std::string& directory = spec.scratch_directory;
    if (directory == "." || directory == ".." || directory.contains('/')) {
        return Error(Code::InvalidArgument, "'" + directory + "' is no name of a directory");
    }
    return {};
}

Result<MountedRoot> mount_root(const RootMounts& root, const std::vector<MountSpec>& mounts,
                               FdRef control) {
    MountedRoot mounted;
    // Before the mounts here become private: a copy follows what it is a copy of.
    if (root.trees == Trees::Directories) {
        mounted.trees = TRY(open_trees(root, mounts));
    }
    // Nothing that is mounted here may reach the parent's namespace.
    TRY(outcome(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr),
                "make the mounts private"));
    mounted.path = TRY(mount_all(root, control), "root file system");
    if (root.trees == Trees::VirtioFs) {
        mounted.trees = TRY(open_trees(root, mounts));
    }
    TRY(open_images(root, mounts, mounted.trees));
    return mounted;
}

Result<void> clean_scratch(const RootMounts& root) {
    TRY(outcome(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr),
                "make the mounts private"));
    TRY(mount_scratch(root.staging_directory, root.scratch_device));
    std::error_code error;
    std::filesystem::remove_all(root.staging_directory + "/" + root.spec.scratch_directory, error);
    if (error) {
        return Error::from_errno(error.value(), "remove what was written");
    }
    return {};
}

}  // namespace pepita::runtime::container
