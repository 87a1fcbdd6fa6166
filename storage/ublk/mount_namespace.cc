#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstddef>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "storage/ublk/mountinfo.h"
#include "storage/ublk_server.h"

namespace pepita::storage {

Result<void> enter_own_mount_namespace() {
    if (::unshare(CLONE_NEWNS) != 0) {
        return Error::from_errno(errno, "unshare the mount namespace");
    }
    // What others mount from now on is not ours either.
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        return Error::from_errno(errno, "make all mounts private");
    }
    const std::string mounts = TRY(read_file("/proc/self/mountinfo"));
    const std::vector<std::string> points = ublk::mounts_on_ublk(mounts);
    for (const std::string& point : std::views::reverse(points)) {  // the last lies on the others
        if (::umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
            return Error::from_errno(errno, "unmount '" + point + "' from our own namespace");
        }
    }
    return {};
}

}  // namespace pepita::storage
