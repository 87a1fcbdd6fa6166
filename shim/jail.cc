#include "shim/jail.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {
namespace {

// Above all that distributions, container engines (subuid) and systemd give out, below the
// numbers that int32 users of uid_t take for negative.
constexpr uid_t kFirstUser = 0x7000'0000;
constexpr uid_t kUsers = 0x0fff'0000;

struct Limit {
    __rlimit_resource resource;
    rlim_t most;
};

// What a machine that was taken over may use up. Memory is the cgroup's to bound: address space
// says little of it, with a guest's RAM and a compressed store's file mapped. Nor can there be no
// file at all (RLIMIT_FSIZE): memory files are files, and so is each disk that is written to.
constexpr std::array kLimits{
    Limit{.resource = RLIMIT_NOFILE, .most = 4096},  // vsock connections take most of them
    Limit{.resource = RLIMIT_NPROC, .most = 512},    // threads, io_uring's workers among them
    Limit{.resource = RLIMIT_CORE, .most = 0},       // no guest's memory in a file
};

Result<void> outcome(long result, const char* doing) {
    if (result != 0) {
        return Error::from_errno(errno, doing);
    }
    return {};
}

}  // namespace

Result<HeldJailUser> hold_jail_user(const std::string& file, std::uint32_t first) {
    Fd lock(::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
    if (!lock) {
        return Error::from_errno(errno, "open '" + file + "'");
    }
    struct stat status{};
    TRY(outcome(::fstat(lock.ref().number(), &status), "fstat"));
    if (!S_ISREG(status.st_mode) || status.st_uid != 0 || (status.st_mode & 0077U) != 0) {
        return Error(Code::PermissionDenied, "'" + file + "' is not a file of root's alone");
    }
    for (std::uint32_t tried = 0; tried < kUsers; ++tried) {
        const uid_t offset = (first + tried) % kUsers;
        struct flock byte{};  // an OFD lock: it is the description's, not the process's
        byte.l_type = F_WRLCK;
        byte.l_whence = SEEK_SET;
        byte.l_start = offset;
        byte.l_len = 1;
        if (::fcntl(lock.ref().number(), F_OFD_SETLK, &byte) == 0) {
            return HeldJailUser{.user = {.id = kFirstUser + offset}, .lock = std::move(lock)};
        }
        if (errno != EAGAIN && errno != EACCES) {
            return Error::from_errno(errno, "lock '" + file + "'");
        }
    }
    return Error(Code::ResourceExhausted, "every user for a microVM is taken");
}

std::uint64_t jail_namespaces() {
    return CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
}

Result<void> enter_jail(const std::string& directory, JailUser user) {
    TRY(outcome(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make / private"));
    TRY(outcome(::mount(directory.c_str(), directory.c_str(), nullptr, MS_BIND, nullptr),
                "bind the jail"));
    TRY(outcome(::mount(nullptr, directory.c_str(), nullptr,
                        MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr),
                "restrict the jail"));
    TRY(outcome(::chdir(directory.c_str()), "enter the jail"));
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, and goes.
    TRY(outcome(::syscall(SYS_pivot_root, ".", "."), "pivot_root"));
    TRY(outcome(::umount2(".", MNT_DETACH), "unmount the host's root"));
    TRY(outcome(::chdir("/"), "enter the jail"));
    return drop_privileges(user);
}

Result<void> drop_privileges(JailUser user) {
    for (const auto& [resource, most] : kLimits) {
        const rlimit limit{.rlim_cur = most, .rlim_max = most};
        TRY(outcome(::setrlimit(resource, &limit), "setrlimit"));
    }
    TRY(outcome(::setgroups(0, nullptr), "setgroups"));
    TRY(outcome(::setresgid(user.id, user.id, user.id), "setresgid"));
    TRY(outcome(::setresuid(user.id, user.id, user.id), "setresuid"));
    return outcome(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
}

}  // namespace pepita::shim
