#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

/// The root file system of one container on the caller's side: mounts, and the directory they are
/// in. It goes with this object.
class Root {
public:
    struct Options {
        std::string device;          // with an EROFS image
        std::string scratch_device;  // with an ext4 that nobody has used; "": a tmpfs
        std::string directory;       // made here; must not exist
        bool is_read_only = false;
    };
    /// Mounts the image, and over it, unless it is read-only, what takes all that is written: the
    /// scratch device, or a tmpfs.
    /// Errors: AlreadyExists where the directory is there, or the scratch device has been another
    /// container's; name the mount.
    static Result<std::unique_ptr<Root>> create(const Options& options);
    Root(const Root&) = delete;
    Root& operator=(const Root&) = delete;
    Root(Root&&) = delete;
    Root& operator=(Root&&) = delete;
    ~Root();

    std::string path() const { return directory_ + "/root"; }

    /// Unmounts all and removes the directory. Once; a process of the container that still runs
    /// keeps its own mounts. Errors: the first failure, after trying the rest.
    Result<void> remove();

private:
    struct Source {
        const char* type;
        std::string device;
        std::string data;
        unsigned long flags = 0;
    };

    explicit Root(std::string directory) : directory_(std::move(directory)) {}
    Result<void> mount_image(const std::string& device);
    Result<void> mount_writable(const Options& options);
    Result<void> mount_scratch(const std::string& target, const std::string& device);
    Result<std::string> make_place(const char* name);
    Result<void> mount_at(const std::string& target, const Source& source);

    std::string directory_;  // empty once removed
    std::vector<std::string> places_;
    std::vector<std::string> mounted_;
};

}  // namespace pepita::runtime::container
