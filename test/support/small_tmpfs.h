#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"

namespace pepita::test {

/// The root of a tmpfs that holds so much and is mounted nowhere; none where the test may not make
/// one.
inline Fd small_tmpfs(Bytes size) {
    const Fd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
    const std::string bytes = std::to_string(size.value());
    if (!context ||
        ::fsconfig(context.ref().number(), FSCONFIG_SET_STRING, "size", bytes.c_str(), 0) != 0 ||
        ::fsconfig(context.ref().number(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
        return {};
    }
    return Fd(::fsmount(context.ref().number(), FSMOUNT_CLOEXEC, 0));
}

/// An unnamed file of such a tmpfs.
inline Fd file_in_small_tmpfs(Bytes size) {
    const Fd mount = small_tmpfs(size);
    return mount ? Fd(::openat(mount.ref().number(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600))
                 : Fd();
}

}  // namespace pepita::test
