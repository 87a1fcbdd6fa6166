#pragma once

#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "vmm/device_config.h"

namespace pepita::shim {

/// A file as a block device of the host's, for as long as this or a mount of it is there; then the
/// kernel takes it away by itself.
class LoopDisk {
public:
    /// Errors: Unavailable where the host has no loop devices; the kernel's.
    static Result<LoopDisk> create(FdRef file, vmm::Access access);

    const std::string& path() const { return path_; }

private:
    LoopDisk(Fd device, std::string path) : device_(std::move(device)), path_(std::move(path)) {}

    Fd device_;
    std::string path_;
};

}  // namespace pepita::shim
