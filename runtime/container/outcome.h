#pragma once

#include <cerrno>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

/// What a system call that gives less than 0 where it fails has come to; errno is still its own.
inline Result<void> outcome(long result, const std::string& doing) {
    if (result < 0) {
        return Error::from_errno(errno, doing);
    }
    return {};
}

}  // namespace pepita::runtime::container
