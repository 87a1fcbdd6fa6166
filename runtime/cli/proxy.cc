#include "runtime/cli/proxy.h"

#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/oci/host_cgroup.h"

namespace pepita::runtime::cli {
namespace {

constexpr int kSocketNumber = 3;
constexpr int kLostStatus = 255;

static_assert(std::endian::native == std::endian::little, "numbers go over the socket as they are");

/// Everything that can be taken note of. Faults of the proxy itself are not the container's.
sigset_t forwarded_signals() {
    sigset_t signals;
    (void)::sigfillset(&signals);
    for (const int own : {SIGCHLD, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGPIPE}) {
        (void)::sigdelset(&signals, own);
    }
    return signals;
}

/// A full socket loses the signal: the shim hangs, and waiting for it would not help.
void forward_signal(FdRef signals, FdRef socket) {
    signalfd_siginfo info{};
    if (::read(signals.number(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
        const std::uint32_t number = info.ssi_signo;
        (void)send_some(socket, std::as_bytes(std::span(&number, 1))).has_value();
    }
}

/// Gathers the four bytes, however they come.
class StatusReader {
public:
    enum class Progress : std::uint8_t { More, Done, Lost };

    Progress read(FdRef socket) {
        const Result<Received> got = receive_some(socket, std::span(bytes_).subspan(size_));
        if (!got) {
            return got.error().sys_errno() == EAGAIN ? Progress::More : Progress::Lost;
        }
        if (got->size == 0) {
            return Progress::Lost;
        }
        size_ += got->size;
        return size_ == bytes_.size() ? Progress::Done : Progress::More;
    }
    std::uint32_t status() const { return std::bit_cast<std::uint32_t>(bytes_); }

private:
    std::array<std::byte, sizeof(std::uint32_t)> bytes_{};
    std::size_t size_ = 0;
};

/// The whole life of the proxy; gives its exit status.
int stand_in(FdRef socket) {
    const sigset_t wanted = forwarded_signals();
    const Fd signals(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    std::array<pollfd, 2> ready{{{.fd = socket.number(), .events = POLLIN, .revents = 0},
                                 {.fd = signals.ref().number(), .events = POLLIN, .revents = 0}}};
    StatusReader reader;
    for (;;) {
        if (::poll(ready.data(), ready.size(), -1) < 0) {
            return kLostStatus;
        }
        if (ready[1].revents != 0) {
            forward_signal(signals.ref(), socket);
        }
        if (ready[0].revents != 0) {
            const StatusReader::Progress progress = reader.read(socket);
            if (progress == StatusReader::Progress::Lost) {
                return kLostStatus;
            }
            if (progress == StatusReader::Progress::Done) {
                return static_cast<int>(reader.status());
            }
        }
    }
}

/// A root with nothing but a /proc that shows this process alone: who enters our mount namespace
/// and lists processes there (podman top) finds the stand-in.
Result<void> empty_root() {
    constexpr unsigned long harmless = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    constexpr const char* place = "/proc";  // a directory that every host has
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("pepita-proxy", place, "tmpfs", harmless, "size=4k,nr_inodes=8,mode=0555") != 0 ||
        ::chdir(place) != 0 || ::mkdir("proc", 0555) != 0) {
        return Error::from_errno(errno, "make an empty root");
    }
    if (::mount("proc", "proc", "proc", harmless | MS_RDONLY, nullptr) != 0 && errno != EPERM) {
        return Error::from_errno(errno, "mount the proxy's /proc");
    }
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one.
    if (::syscall(SYS_pivot_root, ".", ".") != 0 || ::umount2(".", MNT_DETACH) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | harmless, nullptr) != 0) {
        return Error::from_errno(errno, "enter an empty root");
    }
    return {};
}

Result<void> leave_caller(std::span<const std::string> cgroups) {
    reset_limits();
    TRY(oci::enter_cgroups(cgroups));
    // After that, so that the group is the root of what the proxy sees.
    if (::unshare(CLONE_NEWCGROUP) != 0) {
        return Error::from_errno(errno, "unshare the cgroup namespace");
    }
    TRY(empty_root());
    // Blocked before the parent knows our pid, so that no signal is missed or ends us.
    const sigset_t signals = forwarded_signals();
    if (::sigprocmask(SIG_SETMASK, &signals, nullptr) != 0 || ::setsid() == -1 ||
        ::chdir("/") != 0) {
        return Error::from_errno(errno, "start the proxy process");
    }
    (void)::prctl(PR_SET_NAME, "pepita-proxy");
    (void)::signal(SIGPIPE, SIG_IGN);
    return {};
}

}  // namespace

Result<Proxy> start_proxy(std::span<const std::string> cgroups) {
    auto [ours, theirs] = TRY(socket_pair(), "proxy");
    SpawnOptions options;
    options.arguments = {"pepita-proxy"};
    options.fds = {{.fd = theirs.ref(), .number = kSocketNumber}};
    options.lifetime = Lifetime::OutlivesUs;
    options.namespaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    options.prepare = [cgroups] { return leave_caller(cgroups); };
    options.instead_of_exec = [] { ::_exit(stand_in(FdRef(kSocketNumber))); };
    return Proxy{.process = TRY(spawn(std::move(options))), .socket = std::move(ours)};
}

}  // namespace pepita::runtime::cli
