#include "runtime/container/namespaces.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

std::uint64_t clone_flags(const NamespacesSpec& namespaces) {
    std::uint64_t flags = 0;
    flags |= namespaces.pid ? CLONE_NEWPID : 0U;
    flags |= namespaces.mount ? CLONE_NEWNS : 0U;
    flags |= namespaces.ipc ? CLONE_NEWIPC : 0U;
    flags |= namespaces.uts ? CLONE_NEWUTS : 0U;
    flags |= namespaces.network ? CLONE_NEWNET : 0U;
    return flags;
}

Result<void> raise_loopback() {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) {
        return Error::from_errno(errno, "socket");
    }
    ifreq request{};
    std::memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP;
    if (::ioctl(socket.ref().number(), SIOCSIFFLAGS, &request) != 0) {
        return Error::from_errno(errno, "raise the loopback interface");
    }
    return {};
}

}  // namespace pepita::runtime::container
