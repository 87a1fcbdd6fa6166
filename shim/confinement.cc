#include "shim/confinement.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/syscall_filter.h"
#include "shim/isolation.h"

namespace pepita::shim {
namespace {

constexpr unsigned kHalfBits = 32;  // capset(2) has a set in two halves

constexpr std::uint64_t bits(std::initializer_list<unsigned> capabilities) {
    std::uint64_t set = 0;
    for (const unsigned capability : capabilities) {
        set |= std::uint64_t{1} << capability;
    }
    return set;
}

// confinement_test shows for each what fails without it.
constexpr std::uint64_t kForAll = bits({
    CAP_DAC_OVERRIDE,  // sockets in the jail's directory, roots that are packed, callers' FIFOs
    CAP_SYS_PTRACE,    // namespaces of stand-ins, to see which one is named; ptrace(2) it has not
});

constexpr std::uint64_t kForMicrovms =
    kForAll |
    bits({
        CAP_KILL,        // the machine, which has a user of its own; PR_SET_PDEATHSIG needs it, too
        CAP_CHOWN,       // gives that user the sockets of interfaces that come later
        CAP_NET_ADMIN,   // the pod's taps
        CAP_SETUID,      // user namespaces by whose mapping mounts are shared
        CAP_SETGID,      // the same
        CAP_SETFCAP,     // the same, where the mapping has root
        CAP_SYS_CHROOT,  // enters the mount namespace of the shared files
        CAP_SYS_ADMIN,   // mounts them there, and enters the pod's network namespace
    });

constexpr SyscallRule call(long number) { return {.number = number, .only_if = {}}; }
constexpr SyscallRule socket_of(std::uint64_t family) {
    return {.number = SYS_socket, .only_if = SyscallRule::Condition{.value = family}};
}

// The loop: its events, clients, streams and logs; the pod's directory, cgroup and locks.
constexpr std::array kLoop{
    call(SYS_epoll_wait),
    call(SYS_epoll_ctl),
    call(SYS_poll),
    call(SYS_timerfd_create),
    call(SYS_timerfd_settime),
    call(SYS_eventfd2),
    call(SYS_read),
    call(SYS_pread64),
    call(SYS_write),
    call(SYS_lseek),
    call(SYS_ioctl),
    call(SYS_fcntl),
    call(SYS_close),
    socket_of(AF_UNIX),
    call(SYS_socketpair),
    call(SYS_bind),
    call(SYS_listen),
    call(SYS_accept4),
    call(SYS_connect),
    call(SYS_sendmsg),
    call(SYS_sendto),
    call(SYS_recvmsg),
    call(SYS_recvfrom),
    call(SYS_shutdown),
    call(SYS_getsockopt),
    call(SYS_openat),
    call(SYS_openat2),
    call(SYS_newfstatat),
    call(SYS_statx),
    call(SYS_statfs),
    call(SYS_fstatfs),
    call(SYS_access),
    call(SYS_readlink),
    call(SYS_readlinkat),
    call(SYS_getdents64),
    call(SYS_mkdir),
    call(SYS_mkdirat),
    call(SYS_rmdir),
    call(SYS_unlink),
    call(SYS_unlinkat),
    call(SYS_rename),
    call(SYS_renameat),
    call(SYS_renameat2),
    call(SYS_fchmod),
    call(SYS_fchown),
    call(SYS_fchownat),
    call(SYS_ftruncate),
    call(SYS_flock),
    call(SYS_pipe2),
    call(SYS_memfd_create),
    call(SYS_brk),
    call(SYS_mmap),
    call(SYS_munmap),
    call(SYS_mremap),
    call(SYS_madvise),
    call(SYS_futex),
    call(SYS_getrandom),
    call(SYS_clock_gettime),
    call(SYS_gettid),
    call(SYS_getpid),
    call(SYS_sysinfo),
    call(SYS_rt_sigaction),
    call(SYS_rt_sigprocmask),
    call(SYS_rt_sigreturn),
    call(SYS_kill),
    call(SYS_tgkill),
    call(SYS_pidfd_send_signal),
    call(SYS_restart_syscall),
    call(SYS_exit),
    call(SYS_exit_group),
};

// Its children: programs that pack or format a disk, a copy of an image, who follows a terminal's
// size.
constexpr std::array kChildren{
    call(SYS_clone),     call(SYS_clone3),     call(SYS_execve),          call(SYS_execveat),
    call(SYS_wait4),     call(SYS_waitid),     call(SYS_pidfd_open),      call(SYS_close_range),
    call(SYS_dup2),      call(SYS_prctl),      call(SYS_setsid),          call(SYS_rt_sigtimedwait),
    call(SYS_getppid),   call(SYS_arch_prctl), call(SYS_set_tid_address), call(SYS_set_robust_list),
    call(SYS_rseq),      call(SYS_prlimit64),  call(SYS_mprotect),        call(SYS_uname),
    call(SYS_getuid),    call(SYS_geteuid),    call(SYS_getgid),          call(SYS_getegid),
    call(SYS_pwrite64),  call(SYS_fallocate),  call(SYS_fsync),           call(SYS_copy_file_range),
    call(SYS_sendfile),  call(SYS_listxattr),  call(SYS_llistxattr),      call(SYS_getxattr),
    call(SYS_lgetxattr), call(SYS_lstat),      call(SYS_getcwd),          call(SYS_chdir),
};

// What other versions of the C library, and of the programs that it starts, call for the same.
constexpr std::array kSynonyms{
    call(SYS_fstat),        call(SYS_stat),      call(SYS_dup),
    call(SYS_dup3),         call(SYS_readv),     call(SYS_writev),
    call(SYS_preadv),       call(SYS_pwritev),   call(SYS_preadv2),
    call(SYS_pwritev2),     call(SYS_ppoll),     call(SYS_epoll_pwait),
    call(SYS_epoll_pwait2), call(SYS_faccessat), call(SYS_faccessat2),
    call(SYS_fdatasync),    call(SYS_nanosleep), call(SYS_clock_nanosleep),
    call(SYS_sched_yield),  call(SYS_vfork),     call(SYS_sched_getaffinity),
    call(SYS_fchmodat),     call(SYS_umask),     call(SYS_flistxattr),
    call(SYS_fgetxattr),    call(SYS_fadvise64), call(SYS_gettimeofday),
    call(SYS_time),
};

// With a microVM: the host's files that it shares, with ids mapped, and its network.
constexpr std::array kWithMicrovm{
    call(SYS_setns),   call(SYS_open_tree), call(SYS_move_mount), call(SYS_mount_setattr),
    call(SYS_umount2), call(SYS_mknodat),   call(SYS_pause),
};

std::vector<SyscallRule> rules_for(Isolation isolation) {
    std::vector<SyscallRule> rules(kLoop.begin(), kLoop.end());
    rules.insert(rules.end(), kChildren.begin(), kChildren.end());
    rules.insert(rules.end(), kSynonyms.begin(), kSynonyms.end());
    if (isolation != Isolation::Process) {
        rules.insert(rules.end(), kWithMicrovm.begin(), kWithMicrovm.end());
    }
    return rules;
}

Result<void> bound_to(std::uint64_t kept) {
    for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
         ++capability) {
        if ((kept >> capability & 1U) == 0 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
            return Error::from_errno(errno, "drop capability " + std::to_string(capability));
        }
    }
    return {};
}

}  // namespace

std::uint64_t kept_capabilities(Isolation isolation) {
    return isolation == Isolation::Process ? kForAll : kForMicrovms;
}

Result<void> keep_capabilities(std::uint64_t kept) {
    TRY(bound_to(kept));
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> sets{};
    if (::syscall(SYS_capget, &header, sets.data()) != 0) {
        return Error::from_errno(errno, "read the capabilities");
    }
    for (const unsigned half : {0U, 1U}) {
        const auto most = static_cast<std::uint32_t>(kept >> (half * kHalfBits));
        sets[half] = {.effective = sets[half].permitted & most,
                      .permitted = sets[half].permitted & most,
                      .inheritable = 0};
    }
    if (::syscall(SYS_capset, &header, sets.data()) != 0) {
        return Error::from_errno(errno, "give up capabilities");
    }
    return {};
}

Result<void> confine(Isolation isolation) {
    TRY(keep_capabilities(kept_capabilities(isolation)));
    return allow_only(rules_for(isolation), FilterScope::Process);
}

}  // namespace pepita::shim
