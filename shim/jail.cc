#include "shim/jail.h"

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {
namespace {

// Above all that distributions, container engines (subuid) and systemd give out, below the
// numbers that int32 users of uid_t take for negative.
constexpr uid_t kFirstUser = 0x7000'0000;

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

JailUser jail_user(pid_t shim) { return {.id = kFirstUser + static_cast<uid_t>(shim)}; }

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
