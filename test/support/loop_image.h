#pragma once

#include <memory>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::test {

/// A folder packed as an EROFS image, behind a loop device of its own for as long as this lives.
/// Errors: whatever this machine lacks for it (root, mkfs.erofs, loop devices).
class LoopImage {
public:
    static Result<std::unique_ptr<LoopImage>> create(const std::string& folder);

    /// The block device.
    const std::string& device() const { return device_; }

private:
    LoopImage(std::string device, Fd fd) : device_(std::move(device)), fd_(std::move(fd)) {}
    std::string device_;
    Fd fd_;  // the kernel detaches the image once nobody has the device open or mounted
};

}  // namespace pepita::test
