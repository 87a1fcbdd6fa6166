#include "cri/network_namespace.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "cri/directories.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"

namespace pepita::cri {
namespace {

Result<void> raise_loopback() {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) {
        return Error::from_errno(errno, "socket");
    }
    ifreq request{};
    constexpr std::string_view name = "lo";
    std::ranges::copy(name, std::begin(request.ifr_name));
    if (::ioctl(socket.ref().number(), SIOCGIFFLAGS, &request) != 0) {
        return Error::from_errno(errno, "read the flags of lo");
    }
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (::ioctl(socket.ref().number(), SIOCSIFFLAGS, &request) != 0) {
        return Error::from_errno(errno, "set lo up");
    }
    return {};
}

// The calling thread is in the new namespace from here on, to its end.
Result<void> make_here(const std::string& path) {
    if (::unshare(CLONE_NEWNET) != 0) {
        return Error::from_errno(errno, "make a network namespace");
    }
    TRY(raise_loopback());
    if (::mount("/proc/thread-self/ns/net", path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
        return Error::from_errno(errno, "mount a network namespace at '" + path + "'");
    }
    return {};
}

}  // namespace

Result<void> make_network_namespace(const std::string& path) {
    TRY(make_directories(std::filesystem::path(path).parent_path()));
    constexpr mode_t mode = 0444;
    if (!Fd(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode))) {
        return Error::from_errno(errno, "make '" + path + "'");
    }
    Result<void> made;
    Result<Thread> thread = Thread::start("netns", [&] { made = make_here(path); });
    if (thread) {
        thread->join();
    } else {
        made = std::move(thread).error();
    }
    if (!made) {
        (void)::unlink(path.c_str());
    }
    return made;
}

Result<void> remove_network_namespace(const std::string& path) {
    if (::umount2(path.c_str(), MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT) {
        return Error::from_errno(errno, "unmount '" + path + "'");
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return Error::from_errno(errno, "remove '" + path + "'");
    }
    return {};
}

}  // namespace pepita::cri
