#include "runtime/container/namespaces.h"

#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/user_namespace.h"
#include "runtime/container.h"
#include "runtime/container/outcome.h"

namespace pepita::runtime::container {

std::uint64_t clone_flags(const NamespacesSpec& namespaces) {
    std::uint64_t flags = 0;
    flags |= namespaces.pid ? CLONE_NEWPID : 0U;
    flags |= namespaces.mount ? CLONE_NEWNS : 0U;
    flags |= namespaces.ipc ? CLONE_NEWIPC : 0U;
    flags |= namespaces.uts ? CLONE_NEWUTS : 0U;
    flags |= namespaces.network ? CLONE_NEWNET : 0U;
    flags |= namespaces.user ? CLONE_NEWUSER : 0U;
    return flags;
}

std::uint64_t join_flags(const NamespacesSpec& namespaces) {
    std::uint64_t flags = clone_flags(namespaces);
    flags |= namespaces.cgroup ? CLONE_NEWCGROUP : 0U;
    flags |= namespaces.time ? CLONE_NEWTIME : 0U;
    flags |= namespaces.pid_of.empty() ? 0U : CLONE_NEWPID;
    flags |= namespaces.ipc_of.empty() ? 0U : CLONE_NEWIPC;
    flags |= namespaces.uts_of.empty() ? 0U : CLONE_NEWUTS;
    return flags;
}

NextChild::~NextChild() {
    // To the namespaces that the caller is in it may always go back (pid_namespaces(7)).
    if (pid_) {
        (void)::prctl(PR_SET_DUMPABLE, dumpable_, 0, 0, 0);
        CHECK(::setns(pid_.ref().number(), CLONE_NEWPID) == 0);
    }
    if (time_) {
        CHECK(::setns(time_.ref().number(), CLONE_NEWTIME) == 0);
    }
}

void NextChild::forget() {
    pid_ = Fd();
    time_ = Fd();
}

Result<void> NextChild::enter_pid_of(FdRef pidfd) {
    Fd own = TRY(open_file("/proc/self/ns/pid", O_RDONLY));
    dumpable_ = ::prctl(PR_GET_DUMPABLE);
    TRY(outcome(::setns(pidfd.number(), CLONE_NEWPID), "join the container's pid namespace"));
    (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    pid_ = std::move(own);
    return {};
}

Result<void> NextChild::enter_new_time(const NamespacesSpec& namespaces) {
    Fd own = TRY(open_file("/proc/self/ns/time", O_RDONLY));
    TRY(outcome(::unshare(CLONE_NEWTIME), "make a time namespace"));
    time_ = std::move(own);
    for (const auto& [clock, offset] : {std::pair("monotonic", &namespaces.monotonic),
                                        std::pair("boottime", &namespaces.boottime)}) {
        if (*offset) {
            TRY(write_file("/proc/self/timens_offsets",
                           std::string(clock) + " " + std::to_string((*offset)->seconds) + " " +
                               std::to_string((*offset)->nanoseconds)),
                "offset of clock '", clock, "'");
        }
    }
    return {};
}

Result<void> map_ids(pid_t pid, const NamespacesSpec& namespaces) {
    const std::string process = "/proc/" + std::to_string(pid);
    TRY(write_file(process + "/uid_map", to_map(namespaces.uid_mappings)), "map user ids");
    TRY(write_file(process + "/gid_map", to_map(namespaces.gid_mappings)), "map group ids");
    return {};
}

std::optional<std::uint32_t> mapped_id(const std::vector<IdMapping>& mappings, std::uint32_t id) {
    for (const IdMapping& mapping : mappings) {
        if (id >= mapping.container_id && id - mapping.container_id < mapping.size) {
            return mapping.host_id + (id - mapping.container_id);
        }
    }
    return std::nullopt;
}

Result<void> become_inner_root() {
    TRY(outcome(::setgroups(0, nullptr), "leave all groups"));
    TRY(outcome(::setresgid(0, 0, 0), "become group 0 of the user namespace"));
    return outcome(::setresuid(0, 0, 0), "become user 0 of the user namespace");
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
