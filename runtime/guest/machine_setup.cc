#include "runtime/guest/machine_setup.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/namespaces.h"

namespace pepita::runtime::guest {
namespace {

struct MountPoint {
    const char* type;
    const char* target;
    unsigned long flags;
    const char* data;
};

constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
constexpr std::array kMounts{
    MountPoint{.type = "proc", .target = "/proc", .flags = kPlain, .data = nullptr},
    MountPoint{.type = "sysfs", .target = "/sys", .flags = kPlain, .data = nullptr},
    MountPoint{.type = "devtmpfs", .target = "/dev", .flags = MS_NOSUID, .data = "mode=0755"},
    MountPoint{.type = "devpts",
               .target = "/dev/pts",
               .flags = MS_NOSUID | MS_NOEXEC,
               .data = "mode=0620,ptmxmode=0666"},
    MountPoint{
        .type = "tmpfs", .target = "/run", .flags = MS_NOSUID | MS_NODEV, .data = "mode=0755"},
    MountPoint{
        .type = "tmpfs", .target = "/tmp", .flags = MS_NOSUID | MS_NODEV, .data = "mode=1777"},
    MountPoint{.type = "cgroup2", .target = "/sys/fs/cgroup", .flags = kPlain, .data = nullptr}};

Result<void> leave_initramfs() {
    constexpr const char* root = "/root";
    TRY(make_directory(root, 0755));
    if (::mount("tmpfs", root, "tmpfs", 0, "mode=0755") != 0 || ::chdir(root) != 0 ||
        ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || ::chroot(".") != 0 ||
        ::chdir("/") != 0) {
        return Error::from_errno(errno, "make a tmpfs the root");
    }
    return {};
}

Result<void> load_module(const std::string& path) {
    const Fd fd = TRY(open_file(path.c_str(), O_RDONLY));
    if (::syscall(SYS_finit_module, fd.ref().number(), "", 0) != 0 && errno != EEXIST) {
        return Error::from_errno(errno, "load module '" + path + "'");
    }
    return {};
}

// A controller that this kernel lacks is missed by the container that asks for its limit.
Result<void> enable_controllers(const std::string& cgroup) {
    const std::string controllers = TRY(read_file(cgroup + "/cgroup.controllers"));
    for (const std::string_view name : {"cpu", "memory", "pids", "cpuset", "io", "hugetlb"}) {
        if ((" " + controllers).find(" " + std::string(name)) != std::string::npos) {
            TRY(write_file(cgroup + "/cgroup.subtree_control", "+" + std::string(name)));
        }
    }
    return {};
}

// What takes the place of a descriptor must not be in its place already: dup2(2) would leave it
// close-on-exec.
Result<Fd> open_above_standard(const char* path, int flags) {
    const Fd file = TRY(open_file(path, flags));
    Fd above(::fcntl(file.ref().number(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!above) {
        return Error::from_errno(errno, "duplicate descriptor");
    }
    return above;
}

}  // namespace

Result<void> open_log() {
    TRY(make_directory("/dev", 0755));
    if (::mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755") != 0 && errno != EBUSY) {
        return Error::from_errno(errno, "mount the initramfs's '/dev'");
    }
    const Fd null = TRY(open_above_standard("/dev/null", O_RDWR));
    const Fd log = TRY(open_above_standard("/dev/kmsg", O_WRONLY));
    if (::dup2(null.ref().number(), STDIN_FILENO) == -1 ||
        ::dup2(log.ref().number(), STDOUT_FILENO) == -1 ||
        ::dup2(log.ref().number(), STDERR_FILENO) == -1) {
        return Error::from_errno(errno, "dup2");
    }
    return {};
}

Result<void> mount_file_systems() {
    TRY(leave_initramfs(), "leave the initramfs");
    for (const MountPoint& point : kMounts) {
        TRY(make_directory(point.target, 0755));
        if (::mount(point.type, point.target, point.type, point.flags, point.data) != 0 &&
            errno != EBUSY) {
            return Error::from_errno(errno, std::string("mount '") + point.target + "'");
        }
    }
    return {};
}

Result<void> load_modules(const std::string& list) {
    const std::string names = TRY(read_file(list));
    std::string_view rest = names;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const std::string name(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (name.empty()) {
            continue;
        }
        if (const Result<void> loaded = load_module(name); !loaded) {
            log::warn("a module is missing", {{"error", loaded.error().message()}});
        }
    }
    return {};
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

Result<void> prepare_for_containers() {
    TRY(make_directory("/run/pepita", 0755));
    TRY(make_directory(kStaging, 0755));
    TRY(container::raise_loopback());
    TRY(enable_controllers("/sys/fs/cgroup"));
    TRY(make_directory(kCgroup, 0755));
    TRY(enable_controllers(kCgroup));
    if (::sethostname("pepita", 6) != 0) {
        return Error::from_errno(errno, "sethostname");
    }
    return {};
}

}  // namespace pepita::runtime::guest
