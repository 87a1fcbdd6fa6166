#pragma once

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
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

/// Runs the guest, answers its exits or hands them to the loop and waits, ends. No call for
/// abort(3): after a failed CHECK the process ends by SIGSYS, its message written.
inline constexpr std::array kVcpu = {
    detail::only(SYS_ioctl, 1, abi::kvm::kRun),
    detail::only(SYS_write),           // eventfds: an exit for the loop, a queue's notification
    detail::only(SYS_futex),           // waiting for the loop, and for the lock of a device
    detail::only(SYS_sched_yield),     // which spins a little first
    detail::only(SYS_rt_sigreturn),    // from the signal that ends KVM_RUN
    detail::only(SYS_rt_sigprocmask),  // of a thread that ends
    detail::only(SYS_madvise),         // which gives its stack back
    detail::only(SYS_exit),
};

/// The main thread once all is made: devices and the end. What it has to do is in
/// sandbox_needs_test, which drops one call after the other. abort(3) as above.
inline constexpr std::array kDeviceLoop = {
    detail::only(SYS_epoll_wait),
    detail::only(SYS_epoll_ctl),
    detail::only(SYS_read),   // eventfds
    detail::only(SYS_write),  // eventfds, the console, the log
    detail::only(SYS_poll),   // whether the console, or a front end's eventfd, takes a byte
    detail::only(SYS_close),
    // vsock
    detail::only(SYS_accept4),
    detail::only(SYS_socket, 0, AF_UNIX),
    detail::only(SYS_connect),
    detail::only(SYS_sendmsg),
    detail::only(SYS_recvmsg),
    detail::only(SYS_recvfrom),  // to peek
    detail::only(SYS_shutdown),
    detail::only(SYS_ioctl, 1, FIONREAD),  // how much a client has for the guest
    // disks
    detail::only(SYS_io_uring_enter),
    detail::only(SYS_preadv),  // of a disk in memory, which io_uring would have a worker do
    detail::only(SYS_pwritev),
    // entropy
    detail::only(SYS_getrandom),
    // taps, which have no positions; how a driver wants its frames
    detail::only(SYS_readv),
    detail::only(SYS_writev),
    detail::only(SYS_ioctl, 1, TUNSETOFFLOAD),
    // memory: malloc's, pages that a store gives back, the rings of what ends
    detail::not_executable(SYS_mmap, 2),
    detail::only(SYS_munmap),
    detail::only(SYS_brk),
    detail::only(SYS_madvise),
    detail::only(SYS_futex),          // threads that end, locks of devices
    detail::only(SYS_clock_gettime),  // on hosts whose clock user space cannot read by itself
    detail::only(SYS_exit_group),
};

/// What a device that is attached later needs to be made.
inline constexpr std::array kAttach = {
    detail::only(SYS_eventfd2),                 // of its queues
    detail::only(SYS_fcntl),                    // whether a file may be written; O_NONBLOCK, seals
    detail::only(SYS_newfstatat),               // fstat(2): how large a file is
    detail::only(SYS_fstatfs),                  // whether a disk's file is in memory
    detail::only(SYS_ioctl, 1, BLKGETSIZE64),   // how large a block device is
    detail::only(SYS_statx, 2, AT_EMPTY_PATH),  // how O_DIRECT wants memory aligned
    detail::only(SYS_pread64),                  // the same before Linux 6.1; a store's base
    detail::only(SYS_memfd_create),             // a store's memory,
    detail::only(SYS_ftruncate),                // how much of it at most,
    detail::only(SYS_lseek),                    // and where its base has data
};

/// Besides, where the loop has a machine.
inline constexpr std::array kMachine = {
    detail::only(SYS_ioctl, 1, abi::kvm::kSignalMsi),
    detail::only(SYS_ioctl, 1, abi::kvm::kIoEventFd),
    detail::only(SYS_preadv2),      // of eventfds that a device's server has, too
    detail::only(SYS_tgkill),       // pause and end: a vCPU leaves the guest
    detail::only(SYS_sched_yield),  // while the loop waits for that
};

/// Besides, where the loop serves the front ends of a machine that is elsewhere.
inline constexpr std::array kFrontEnds = {
    detail::only(SYS_preadv2),       // of its eventfds, which must not make us wait
    detail::only(SYS_rt_sigaction),  // SIGBUS, where it cuts off the memory that it lent
    detail::only(SYS_rt_sigreturn),
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

/// For the calling thread, for good, one of the lists or a part of it.
/// Errors: Unsupported on a kernel without seccomp.
inline Result<void> enter(std::span<const SyscallRule> rules) {
    std::vector<SyscallRule> all(rules.begin(), rules.end());
    all.insert(all.end(), kRuntime.begin(), kRuntime.end());
    return allow_only(all, FilterScope::Thread);
}

inline Result<void> enter_vcpu() { return enter(kVcpu); }

enum class Duty : std::uint8_t { Machine, FrontEnds };
inline std::vector<SyscallRule> device_loop_rules(Duty duty) {
    std::vector<SyscallRule> rules(kDeviceLoop.begin(), kDeviceLoop.end());
    const auto more = duty == Duty::Machine ? std::span<const SyscallRule>(kMachine)
                                            : std::span<const SyscallRule>(kFrontEnds);
    rules.insert(rules.end(), more.begin(), more.end());
    return rules;
}
inline Result<void> enter_device_loop(Duty duty) {
    std::vector<SyscallRule> rules = device_loop_rules(duty);
    rules.insert(rules.end(), kAttach.begin(), kAttach.end());
    return enter(rules);
}

}  // namespace pepita::vmm::sandbox
