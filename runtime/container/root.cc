#include "runtime/container/root.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

Result<std::unique_ptr<Root>> Root::create(const Options& options) {
    // What has this name belongs to another container: nothing of it is ours to remove.
    if (::mkdir(options.directory.c_str(), 0700) != 0) {
        return Error::from_errno(errno, "make directory '" + options.directory + "'");
    }
    std::unique_ptr<Root> root(new Root(options.directory));
    TRY(options.is_read_only ? root->mount_image(options.device) : root->mount_writable(options),
        "root file system");
    return root;
}

Root::~Root() { (void)remove().has_value(); }

Result<void> Root::mount_image(const std::string& device) {
    return mount_at(TRY(make_place("root")),
                    {.type = "erofs", .device = device, .data = "", .flags = MS_RDONLY});
}

Result<void> Root::mount_scratch(const std::string& target, const std::string& device) {
    if (device.empty()) {
        return mount_at(target, {.type = "tmpfs", .device = "tmpfs", .data = "mode=0700"});
    }
    // Discarding gives the host its memory back as soon as a file is deleted. What the container
    // sees are the flags of the overlay, not these.
    return mount_at(target, {.type = "ext4",
                             .device = device,
                             .data = "discard,errors=remount-ro",
                             .flags = MS_NOATIME | MS_NODEV | MS_NOSUID});
}

Result<void> Root::mount_writable(const Options& options) {
    const std::string lower = TRY(make_place("lower"));
    const std::string writable = TRY(make_place("writable"));
    TRY(mount_at(lower,
                 {.type = "erofs", .device = options.device, .data = "", .flags = MS_RDONLY}));
    TRY(mount_scratch(writable, options.scratch_device));
    // They go with the scratch device. One that has them is another container's.
    for (const char* part : {"/upper", "/work"}) {
        if (::mkdir((writable + part).c_str(), 0755) != 0) {
            return Error::from_errno(errno, std::string("make '") + part + "' for what is written");
        }
    }
    return mount_at(TRY(make_place("root")),
                    {.type = "overlay",
                     .device = "overlay",
                     .data = "lowerdir=" + lower + ",upperdir=" + writable +
                             "/upper,workdir=" + writable + "/work"});
}

Result<std::string> Root::make_place(const char* name) {
    std::string path = directory_ + "/" + name;
    TRY(make_directory(path, 0755));
    places_.push_back(path);
    return path;
}

Result<void> Root::mount_at(const std::string& target, const Source& source) {
    if (::mount(source.device.c_str(), target.c_str(), source.type, source.flags,
                source.data.c_str()) != 0) {
        return Error::from_errno(
            errno, std::string("mount ") + source.type + " from '" + source.device + "'");
    }
    mounted_.push_back(target);
    return {};
}

Result<void> Root::remove() {
    const std::string directory = std::exchange(directory_, {});
    if (directory.empty()) {
        return {};
    }
    std::optional<Error> first;
    const auto note = [&first](int result, const std::string& doing) {
        if (result != 0 && !first) {
            first = Error::from_errno(errno, doing);
        }
    };
    for (const std::string& target : mounted_ | std::views::reverse) {
        note(::umount2(target.c_str(), MNT_DETACH), "unmount '" + target + "'");
    }
    for (const std::string& place : places_ | std::views::reverse) {
        note(::rmdir(place.c_str()), "remove '" + place + "'");
    }
    note(::rmdir(directory.c_str()), "remove '" + directory + "'");
    if (first) {
        return *std::move(first);
    }
    return {};
}

}  // namespace pepita::runtime::container
