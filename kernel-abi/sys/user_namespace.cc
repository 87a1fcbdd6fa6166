#include "kernel-abi/sys/user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

Result<Fd> map_and_open(pid_t pid, std::span<const IdMapping> uids,
                        std::span<const IdMapping> gids) {
    const std::string process = "/proc/" + std::to_string(pid);
    TRY(write_file(process + "/uid_map", to_map(uids)), "map user ids");
    TRY(write_file(process + "/gid_map", to_map(gids)), "map group ids");
    return open_file((process + "/ns/user").c_str(), O_RDONLY);
}

}  // namespace

std::string to_map(std::span<const IdMapping> mappings) {
    std::string text;
    for (const IdMapping& mapping : mappings) {
        text += std::to_string(mapping.container_id) + " " + std::to_string(mapping.host_id) + " " +
                std::to_string(mapping.size) + "\n";
    }
    return text;
}

// Only a process can make one, so one is there for that long.
Result<Fd> make_user_namespace(std::span<const IdMapping> uids, std::span<const IdMapping> gids) {
    const long pid = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, 0);
    if (pid == 0) {
        while (true) {
            (void)::pause();
        }
    }
    if (pid < 0) {
        return Error::from_errno(errno, "make a user namespace");
    }
    const auto child = static_cast<pid_t>(pid);
    Result<Fd> made = map_and_open(child, uids, gids);
    (void)::kill(child, SIGKILL);
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {}
    return made;
}

}  // namespace pepita
