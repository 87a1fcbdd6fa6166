#pragma once

#include <filesystem>
#include <system_error>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Makes a directory, and those above it. One that exists is fine.
inline Result<void> make_directories(const std::filesystem::path& path) {
    std::error_code failed;
    std::filesystem::create_directories(path, failed);
    if (failed) {
        return Error::from_errno(failed.value(), "make directory '" + path.string() + "'");
    }
    return {};
}

}  // namespace pepita::cri
