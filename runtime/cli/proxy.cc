#include "runtime/proxy.h"

#include <fcntl.h>
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
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container.h"
#include "runtime/container/inside.h"
#include "runtime/container/mounts.h"
#include "runtime/oci/host_cgroup.h"

namespace pepita::runtime {
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

constexpr unsigned long kHarmless = MS_NOSUID | MS_NODEV | MS_NOEXEC;
constexpr std::uint64_t kHarmlessAttributes =
    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr const char* kPlace = "/proc";  // a directory that every host has

/// The working directory becomes the root.
Result<void> pivot() {
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one.
    if (::syscall(SYS_pivot_root, ".", ".") != 0 || ::umount2(".", MNT_DETACH) != 0 ||
        ::chdir("/") != 0) {
        return Error::from_errno(errno, "enter the proxy's root");
    }
    return {};
}

/// A root with nothing but a /proc that shows this process alone: who enters our mount namespace
/// and lists processes there (podman top) finds the stand-in.
Result<void> enter_empty_root() {
    if (::mount("pepita-proxy", kPlace, "tmpfs", kHarmless, "size=4k,nr_inodes=8,mode=0555") != 0 ||
        ::chdir(kPlace) != 0 || ::mkdir("proc", 0555) != 0) {
        return Error::from_errno(errno, "make an empty root");
    }
    if (::mount("proc", "proc", "proc", kHarmless | MS_RDONLY, nullptr) != 0 && errno != EPERM) {
        return Error::from_errno(errno, "mount the proxy's /proc");
    }
    TRY(pivot());
    if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kHarmless, nullptr) !=
        0) {
        return Error::from_errno(errno, "make the proxy's root read-only");
    }
    return {};
}

Result<Fd> copy_of(const std::string& path, std::uint64_t attributes) {
    return container::copy_mount(TRY(open_file(path.c_str(), O_PATH)).ref(),
                                 attributes | kHarmlessAttributes);
}

/// What cannot be shown is left out: the shim says what is wrong with it.
void show_bind(const MountSpec& bind, const Fd& copy) {
    struct stat about{};
    if (::fstat(copy.ref().number(), &about) != 0) {
        return;
    }
    const Result<Fd> point = S_ISDIR(about.st_mode)
                                 ? container::open_or_make_directory(bind.destination)
                                 : container::open_or_make_file(bind.destination);
    if (point) {
        (void)container::attach_mount(copy.ref(), point->ref(), "bind").has_value();
    }
}

void show_proc() {
    const Result<Fd> point = container::open_inside("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (point && ::fchdir(point->ref().number()) == 0) {
        (void)::mount("proc", ".", "proc", kHarmless | MS_RDONLY, nullptr);
    }
    (void)!::chdir("/");
}

/// The container's root and bind mounts: who enters our mount namespace to copy files (podman cp)
/// finds them.
Result<void> enter_root_of(const ContainerView& shown) {
    const Fd root = TRY(copy_of(shown.root, shown.is_read_only ? MOUNT_ATTR_RDONLY : 0));
    std::vector<std::pair<const MountSpec*, Fd>> binds;
    for (const MountSpec& mount : shown.mounts) {
        if (mount.type != "bind") {
            continue;
        }
        if (auto copy = copy_of(mount.source, container::mount_attributes(mount.options))) {
            binds.emplace_back(&mount, *std::move(copy));
        }
    }
    if (::move_mount(root.ref().number(), "", AT_FDCWD, kPlace, MOVE_MOUNT_F_EMPTY_PATH) != 0 ||
        ::chdir(kPlace) != 0) {
        return Error::from_errno(errno, "mount the container's root");
    }
    TRY(pivot());
    for (const auto& [bind, copy] : binds) {
        show_bind(*bind, copy);
    }
    show_proc();
    return {};
}

Result<void> enter_root(const std::optional<ContainerView>& shown) {
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        return Error::from_errno(errno, "make the proxy's mounts private");
    }
    return shown ? enter_root_of(*shown) : enter_empty_root();
}

void join_network(const std::string& network) {
    if (network.empty()) {
        return;
    }
    if (const Result<Fd> file = open_file(network.c_str(), O_RDONLY)) {
        (void)::setns(file->ref().number(), CLONE_NEWNET);
    }
}

Result<void> leave_caller(std::span<const std::string> cgroups,
                          const std::optional<ContainerView>& shown, const std::string& network) {
    reset_limits();
    join_network(network);
    TRY(oci::enter_cgroups(cgroups));
    // After that, so that the group is the root of what the proxy sees.
    if (::unshare(CLONE_NEWCGROUP) != 0) {
        return Error::from_errno(errno, "unshare the cgroup namespace");
    }
    TRY(enter_root(shown));
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

Result<Proxy> start_proxy(std::span<const std::string> cgroups,
                          const std::optional<ContainerView>& shown, const std::string& network) {
    auto [ours, theirs] = TRY(socket_pair(), "proxy");
    SpawnOptions options;
    options.arguments = {"pepita-proxy"};
    options.fds = {{.fd = theirs.ref(), .number = kSocketNumber}};
    options.lifetime = Lifetime::OutlivesUs;
    options.namespaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    options.prepare = [cgroups, &shown, &network] { return leave_caller(cgroups, shown, network); };
    options.instead_of_exec = [] { ::_exit(stand_in(FdRef(kSocketNumber))); };
    return Proxy{.process = TRY(spawn(std::move(options))), .socket = std::move(ours)};
}

}  // namespace pepita::runtime
