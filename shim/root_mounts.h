#pragma once

#include <memory>
#include <span>
#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/task_api.h"

namespace pepita::shim {

/// What a client's snapshotter says is a container's root, mounted on the bundle's root directory
/// in this process's mount namespace. Unmounted when this goes. Thread: the only one of its
/// process, whose working directory changes during mount().
class RootMounts {
public:
    /// Mounts of types bind, overlay, and of file systems on block devices.
    /// Errors: Unsupported for an option that would need another device or namespace; mount(2)'s,
    /// with type and source. Then nothing is mounted.
    static Result<std::unique_ptr<RootMounts>> mount(std::span<const runtime::RootMount> mounts,
                                                     const std::string& target);
    RootMounts(const RootMounts&) = delete;
    RootMounts& operator=(const RootMounts&) = delete;
    RootMounts(RootMounts&&) = delete;
    RootMounts& operator=(RootMounts&&) = delete;
    ~RootMounts();

private:
    explicit RootMounts(std::string target) : target_(std::move(target)) {}

    std::string target_;
    std::size_t count_ = 0;
};

}  // namespace pepita::shim
