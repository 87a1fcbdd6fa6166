#include "kernel-abi/sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>  // sigabbrev_np
#include <sys/poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

constexpr std::size_t kReportMax = 1024;
constexpr rlim_t kDescriptorsMax = 65'536;

/// What the child says when it cannot go on: an errno, and the words of its Error.
struct Report {
    int sys_errno = 0;
    std::uint32_t code = 0;
    std::array<char, kReportMax> words{};
};

std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> result;
    result.reserve(strings.size() + 1);
    for (std::string& text : strings) {
        result.push_back(text.data());
    }
    result.push_back(nullptr);
    return result;
}

Result<void> place_fds(const std::vector<PassedFd>& wanted, FdRef report) {
    // What our own parent left open without CLOEXEC is not the child's either.
    if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
        return Error::from_errno(errno, "close_range");
    }
    // First out of the way of all the numbers to be filled, or one would overwrite another.
    int above = report.number() + 1;
    for (const PassedFd& passed : wanted) {
        above = std::max({above, passed.number + 1, 3});
    }
    std::vector<PassedFd> moved;
    for (const PassedFd& passed : wanted) {
        const int copy = ::fcntl(passed.fd.number(), F_DUPFD_CLOEXEC, above);
        if (copy == -1) {
            return Error::from_errno(errno, "duplicate descriptor");
        }
        moved.push_back({.fd = FdRef(copy), .number = passed.number});
    }
    const Fd null = TRY(open_file("/dev/null", O_RDWR));
    for (int standard = 0; standard < 3; ++standard) {
        if (::dup2(null.ref().number(), standard) == -1) {
            return Error::from_errno(errno, "dup2");
        }
    }
    for (const PassedFd& passed : moved) {
        if (::dup2(passed.fd.number(), passed.number) == -1) {
            return Error::from_errno(errno, "dup2");
        }
    }
    return {};
}

/// Whether the parent lives. It alone has the other end of the report, and an exiting process
/// closes its descriptors before it signals its children. Its pid would not do: in a pid namespace
/// of our own getppid(2) is 0 from the beginning.
bool has_parent(FdRef report) {
    pollfd other_end{.fd = report.number(), .events = 0, .revents = 0};
    return ::poll(&other_end, 1, 0) == 0;
}

// The highest number that the child keeps open.
int highest_number(const SpawnOptions& options) {
    int highest = 2;
    for (const PassedFd& passed : options.fds) {
        highest = std::max(highest, passed.number);
    }
    return highest;
}

Result<void> become(SpawnOptions& options, FdRef report) {
    reset_signals();
    TRY(place_fds(options.fds, report));
    if (options.prepare) {
        TRY(options.prepare());
    }
    // After prepare(), because a change of user clears it (prctl(2)).
    if (options.lifetime == Lifetime::EndsWithUs) {
        if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
            return Error::from_errno(errno, "PR_SET_PDEATHSIG");
        }
        if (!has_parent(report)) {
            ::_exit(127);  // it exited before the call above: no signal will come
        }
    }
    if (options.instead_of_exec) {
        // What execve(2) would close: the report's end above all, for the parent waits for it.
        (void)::close_range(static_cast<unsigned>(highest_number(options)) + 1, ~0U, 0);
        options.instead_of_exec();
        ::_exit(0);
    }
    std::vector<char*> arguments = pointers(options.arguments);
    std::vector<char*> environment = pointers(options.environment);
    const bool is_open = options.path.empty();
    (void)::execveat(is_open ? options.executable.number() : AT_FDCWD, options.path.c_str(),
                     arguments.data(), environment.data(), is_open ? AT_EMPTY_PATH : 0);
    return Error::from_errno(errno, "exec '" + options.arguments.front() + "'");
}

[[noreturn]] void run_child(SpawnOptions& options, FdRef report_from, Fd report_to) {
    (void)::close(report_from.number());  // the parent's alone: has_parent()
    // The report's own number must survive place_fds(): it is moved above all of them there.
    const int above = highest_number(options) + 1;
    const Fd moved(::fcntl(report_to.ref().number(), F_DUPFD_CLOEXEC, above));
    if (options.path.empty()) {
        options.executable = FdRef(::fcntl(options.executable.number(), F_DUPFD_CLOEXEC, above));
    }
    const Result<void> failed = become(options, moved.ref());
    Report report;
    report.sys_errno = failed.error().sys_errno();
    report.code = static_cast<std::uint32_t>(failed.error().code());
    const std::string& words = failed.error().message();
    std::memcpy(report.words.data(), words.data(), std::min(words.size(), kReportMax - 1));
    (void)!::write(moved.ref().number(), &report, sizeof(report));
    ::_exit(127);
}

}  // namespace

void reset_signals() {
    // What a caller ignores stays ignored over execve(2); so does its mask.
    for (int number = 1; number < NSIG; ++number) {
        (void)::signal(number, SIG_DFL);  // fails for SIGKILL and SIGSTOP, which nobody ignores
    }
    sigset_t none;
    (void)::sigemptyset(&none);
    (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void reset_limits() {
    // Of CPU time, file sizes and the like; without the right to raise it, as far as it goes.
    for (const auto resource :
         {RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_AS, RLIMIT_NPROC, RLIMIT_NOFILE}) {
        rlimit limit{};
        if (::getrlimit(resource, &limit) != 0) {
            continue;
        }
        const rlim_t most =
            resource == RLIMIT_NOFILE ? std::max(kDescriptorsMax, limit.rlim_max) : RLIM_INFINITY;
        const rlimit raised{.rlim_cur = most, .rlim_max = most};
        if (::setrlimit(resource, &raised) != 0) {
            limit.rlim_cur = limit.rlim_max;
            (void)::setrlimit(resource, &limit);
        }
    }
}

std::string to_string(const ChildExit& exit) {
    if (!exit.by_signal) {
        return "exit status " + std::to_string(exit.value);
    }
    const char* name = ::sigabbrev_np(exit.value);
    return "killed by signal " + std::to_string(exit.value) +
           (name == nullptr ? "" : std::string(" (SIG") + name + ")");
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), pidfd_(std::move(other.pidfd_)) {}

Child& Child::operator=(Child&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(pidfd_, other.pidfd_);
    return *this;
}

Child::~Child() {
    if (pid_ != 0) {
        send_signal(SIGKILL);
        (void)reap();
    }
}

void Child::send_signal(int signal) const {
    if (pid_ != 0) {
        (void)::syscall(SYS_pidfd_send_signal, pidfd_.ref().number(), signal, nullptr, 0);
    }
}

ChildExit Child::reap() {
    CHECK(pid_ != 0);
    const pid_t pid = std::exchange(pid_, 0);
    int status = 0;
    pid_t got = -1;
    do {
        got = ::waitpid(pid, &status, 0);
    } while (got == -1 && errno == EINTR);
    CHECK(got == pid);
    return {.by_signal = WIFSIGNALED(status),
            .value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)};
}

Result<Child> spawn(SpawnOptions options) {
    auto [report_from, report_to] = TRY(make_pipe());
    int pidfd = -1;
    clone_args arguments{};
    arguments.flags = CLONE_PIDFD | options.namespaces;
    arguments.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);  // SAFETY: clone3(2) writes an int.
    arguments.exit_signal = SIGCHLD;
    const long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid == -1) {
        return Error::from_errno(errno, "clone3");
    }
    if (pid == 0) {
        run_child(options, report_from.ref(), std::move(report_to));
    }
    Child child(static_cast<pid_t>(pid), Fd(pidfd));
    { const Fd ours = std::move(report_to); }
    Report report;
    ssize_t got = -1;
    do {
        got = ::read(report_from.ref().number(), &report, sizeof(report));
    } while (got == -1 && errno == EINTR);
    if (got == 0) {
        return child;  // execve(2) closed the other end
    }
    if (got != static_cast<ssize_t>(sizeof(report))) {
        return Error(Code::Internal, "start '" + options.arguments.front() + "': no word from it");
    }
    report.words.back() = '\0';
    return Error(static_cast<Code>(report.code), report.words.data());
}

Result<Child> start_program(ProgramOptions options) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    CHECK(::posix_spawn_file_actions_init(&actions) == 0);
    CHECK(::posix_spawnattr_init(&attributes) == 0);
    for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
        if (std::ranges::none_of(options.fds, [number](const PassedFd& passed) {
                return passed.number == number;
            })) {
            ::posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_RDWR, 0);
        }
    }
    for (const PassedFd& passed : options.fds) {
        ::posix_spawn_file_actions_adddup2(&actions, passed.fd.number(), passed.number);
    }
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (options.has_session) {
        flags |= POSIX_SPAWN_SETSID;
        ::posix_spawn_file_actions_addchdir_np(&actions, "/");
    } else {
        flags |= POSIX_SPAWN_SETPGROUP;
    }
    ::posix_spawnattr_setflags(&attributes, static_cast<short>(flags));
    pid_t pid = 0;
    const int failed =
        ::posix_spawn(&pid, options.path.c_str(), &actions, &attributes,
                      pointers(options.arguments).data(), pointers(options.environment).data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (failed != 0) {
        return Error::from_errno(failed, "start '" + options.path + "'");
    }
    // Nobody else reaps it, so the number is still its own.
    Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd) {
        const int errno_of_open = errno;
        (void)::kill(pid, SIGKILL);
        (void)Child(pid, Fd()).reap();
        return Error::from_errno(errno_of_open, "pidfd_open");
    }
    return Child(pid, std::move(pidfd));
}

}  // namespace pepita
