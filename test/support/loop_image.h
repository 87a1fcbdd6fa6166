#pragma once

#include <memory>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::test {

/// An image behind a loop device of its own, for as long as this lives.
/// Errors: whatever this machine lacks for it (root, mkfs, loop devices).
class LoopImage {
public:
    /// A folder packed as an EROFS image.
    static Result<std::unique_ptr<LoopImage>> create(const std::string& folder);
    /// An empty ext4 that can be written.
    static Result<std::unique_ptr<LoopImage>> create_empty(Bytes size);

    /// The block device.
    const std::string& device() const { return device_; }

private:
    static Result<std::unique_ptr<LoopImage>> attach(const Fd& image, unsigned flags, int access);
    LoopImage(std::string device, Fd fd) : device_(std::move(device)), fd_(std::move(fd)) {}
    std::string device_;
    Fd fd_;  // the kernel detaches the image once nobody has the device open or mounted
};

}  // namespace pepita::test
