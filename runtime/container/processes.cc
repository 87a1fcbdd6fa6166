#include "runtime/container/processes.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {
namespace {

// Gives 0 for a process that is gone.
ino_t pid_namespace_of(std::string_view pid) {
    struct stat about{};
    const std::string path = "/proc/" + std::string(pid) + "/ns/pid";
    return ::stat(path.c_str(), &about) == 0 ? about.st_ino : 0;
}

Result<void> send_to(FdRef pidfd, int signal) {
    if (::syscall(SYS_pidfd_send_signal, pidfd.number(), signal, nullptr, 0) != 0 &&
        errno != ESRCH) {
        return Error::from_errno(errno, "signal " + std::to_string(signal));
    }
    return {};
}

}  // namespace

bool has_exited(FdRef pidfd) {
    pollfd over{.fd = pidfd.number(), .events = POLLIN, .revents = 0};
    return ::poll(&over, 1, 0) == 1;
}

Result<void> signal_pid_namespace(FdRef pidfd, pid_t pid, int signal) {
    const std::string first = std::to_string(pid);
    const ino_t wanted = pid_namespace_of(first);
    // Where it is over, so is its namespace; and the number may be another's by now.
    if (wanted == 0 || has_exited(pidfd)) {
        return {};
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir("/proc"), ::closedir);
    while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
        const std::string_view name = entry->d_name;
        pid_t number = 0;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
        const bool is_process = error == std::errc() && end == name.data() + name.size();
        if (is_process && name != first && pid_namespace_of(name) == wanted) {
            (void)::kill(number, signal);
        }
    }
    return send_to(pidfd, signal);
}

void kill_process(FdRef pidfd) { (void)send_to(pidfd, SIGKILL).has_value(); }

}  // namespace pepita::runtime::container
