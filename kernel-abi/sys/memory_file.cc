#include "kernel-abi/sys/memory_file.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

constexpr const char* kHugePages = "advise";  // for what asks by MADV_HUGEPAGE

Fd fd_of(long result) { return Fd(static_cast<int>(result)); }

bool configure(const Fd& context, unsigned command, const char* key, const char* value) {
    return ::syscall(SYS_fsconfig, context.ref().number(), command, key, value, 0) == 0;
}

/// On a tmpfs that is mounted nowhere. None without the right to make one, or without huge pages in
/// the kernel.
Fd create_on_tmpfs(Bytes size) {
    const std::string capacity = std::to_string(size.value());
    const Fd context = fd_of(::syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC));
    if (!context || !configure(context, FSCONFIG_SET_STRING, "huge", kHugePages) ||
        !configure(context, FSCONFIG_SET_STRING, "size", capacity.c_str()) ||
        !configure(context, FSCONFIG_CMD_CREATE, nullptr, nullptr)) {
        return {};
    }
    const Fd mount = fd_of(::syscall(SYS_fsmount, context.ref().number(), FSMOUNT_CLOEXEC,
                                     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
    if (!mount) {
        return {};
    }
    return Fd(::openat(mount.ref().number(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

}  // namespace

Result<Fd> create_memory_file(const char* name, Bytes size) {
    Fd file = create_on_tmpfs(size);
    if (!file) {
        file = Fd(::memfd_create(name, MFD_CLOEXEC));
    }
    if (!file) {
        return Error::from_errno(errno, "memfd_create");
    }
    if (::ftruncate(file.ref().number(), static_cast<off_t>(size.value())) != 0) {
        return Error::from_errno(errno,
                                 "make a file of " + std::to_string(size.value()) + " B in memory");
    }
    return file;
}

}  // namespace pepita
