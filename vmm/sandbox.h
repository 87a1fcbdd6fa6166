#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/syscall_filter.h"
#include "kernel-abi/uapi/kvm.h"

/// What each kind of thread may ask of the host's kernel. Anything else ends the process: a guest
/// that took over a device finds no open(2), no execve(2), no socket but unix ones, no code to map.
namespace pepita::vmm::sandbox {

namespace detail {
constexpr SyscallRule only(long number) { return {.number = number, .only_if = {}}; }
constexpr SyscallRule only(long number, unsigned argument, std::uint64_t value) {
    return {.number = number,
            .only_if = SyscallRule::Condition{.argument = argument, .value = value}};
}
/// Memory, but none that can be executed. `argument` is the protection.
constexpr SyscallRule not_executable(long number, unsigned argument) {
    return {.number = number,
            .only_if = SyscallRule::Condition{.argument = argument, .mask = PROT_EXEC, .value = 0}};
}
}  // namespace detail

/// Runs the guest, answers its exits or hands them to the loop and waits, ends.
inline constexpr std::array kVcpu = {
    detail::only(SYS_ioctl, 1, abi::kvm::kRun),
    detail::only(SYS_write),         // eventfds: an exit for the loop, a queue's notification
    detail::only(SYS_futex),         // waiting for the loop, and for the lock of a device
    detail::only(SYS_sched_yield),   // which spins a little first
    detail::only(SYS_rt_sigreturn),  // from the signal that ends KVM_RUN
    detail::only(SYS_rt_sigprocmask),
    detail::only(SYS_madvise),  // a thread that ends gives its stack back
    detail::only(SYS_exit),
    detail::only(SYS_exit_group),
};

/// The main thread once the machine is made: all devices, the buses, the end.
inline constexpr std::array kDeviceLoop = {
    detail::only(SYS_epoll_wait),
    detail::only(SYS_epoll_ctl),
    detail::only(SYS_poll),
    detail::only(SYS_read),
    detail::only(SYS_write),
    detail::only(SYS_readv),
    detail::only(SYS_writev),
    detail::only(SYS_preadv),  // of a disk in memory, which io_uring would have a worker do
    detail::only(SYS_pwritev),
    detail::only(SYS_preadv2),  // a front end's eventfd, which must not make us wait
    detail::only(SYS_sendmsg),
    detail::only(SYS_sendto),
    detail::only(SYS_recvmsg),
    detail::only(SYS_recvfrom),
    detail::only(SYS_accept4),
    detail::only(SYS_socket, 0, AF_UNIX),
    detail::only(SYS_connect),
    detail::only(SYS_shutdown),
    detail::only(SYS_io_uring_enter),
    detail::only(SYS_getrandom),
    detail::only(SYS_ioctl, 1, abi::kvm::kSignalMsi),
    detail::only(SYS_ioctl, 1, abi::kvm::kIoEventFd),
    detail::only(SYS_ioctl, 1, FIONREAD),  // how much a vsock client has for the guest
    detail::not_executable(SYS_mmap, 2),
    detail::not_executable(SYS_mprotect, 2),  // malloc grows an arena with it
    detail::only(SYS_munmap),
    detail::only(SYS_mremap),
    detail::only(SYS_brk),
    detail::only(SYS_madvise),
    detail::only(SYS_close),
    detail::only(SYS_fstat),
    detail::only(SYS_newfstatat),  // what glibc makes of fstat(2)
    detail::only(SYS_fcntl),
    detail::only(SYS_eventfd2),
    detail::only(SYS_futex),
    detail::only(SYS_sched_yield),
    detail::only(SYS_clock_gettime),
    detail::only(SYS_getpid),  // stopping vCPU threads, and abort(3) after a failed CHECK
    detail::only(SYS_gettid),
    detail::only(SYS_tgkill),
    detail::only(SYS_rt_sigaction),
    detail::only(SYS_rt_sigprocmask),
    detail::only(SYS_rt_sigreturn),
    detail::only(SYS_restart_syscall),
    detail::only(SYS_fstatfs),                  // attach: whether a disk's file is in memory
    detail::only(SYS_ioctl, 1, BLKGETSIZE64),   // attach: how large a block device is
    detail::only(SYS_statx, 2, AT_EMPTY_PATH),  // attach: how O_DIRECT wants memory aligned
    detail::only(SYS_pread64),                  // attach: the same before Linux 6.1; a store's base
    detail::only(SYS_memfd_create),             // attach: a store's memory,
    detail::only(SYS_ftruncate),                // how much of it at most,
    detail::only(SYS_lseek),                    // and where its base has data
    detail::only(SYS_exit),
    detail::only(SYS_exit_group),
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/// What the sanitizers' runtimes do on their own, in builds that nobody ships.
inline constexpr std::array kRuntime = {
    detail::only(SYS_sigaltstack),
    detail::only(SYS_pipe2),
    detail::only(SYS_close),
    detail::only(SYS_munmap),
    SyscallRule{.number = SYS_mmap,  // the shadow of a stack that goes
                .only_if = SyscallRule::Condition{.argument = 3,
                                                  .mask = MAP_FIXED | MAP_NORESERVE,
                                                  .value = MAP_FIXED | MAP_NORESERVE}},
};
#else
inline constexpr std::array<SyscallRule, 0> kRuntime{};
#endif

namespace detail {
inline Result<void> enter(std::span<const SyscallRule> rules) {
    std::vector<SyscallRule> all(rules.begin(), rules.end());
    all.insert(all.end(), kRuntime.begin(), kRuntime.end());
    return allow_only(all, FilterScope::Thread);
}
}  // namespace detail

/// For the calling thread, for good. Errors: Unsupported on a kernel without seccomp.
inline Result<void> enter_vcpu() { return detail::enter(kVcpu); }
inline Result<void> enter_device_loop() { return detail::enter(kDeviceLoop); }

}  // namespace pepita::vmm::sandbox
