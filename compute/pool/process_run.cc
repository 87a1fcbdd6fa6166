#include "compute/pool/process_run.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/pipe.h"

// glibc's clone(2) by its other name: ThreadSanitizer takes clone() for fork(2), which shares no
// memory, and then follows this thread no more.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): glibc's
extern "C" int __clone(int (*body)(void*), void* stack, int flags, void* argument, ...);

namespace pepita::compute {
namespace {

constexpr int kReadsMax = 64;  // of 16 KiB; a pipe holds 64 KiB

Result<Fd> copy_above_standard(FdRef fd) {
    Fd copy(::fcntl(fd.number(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!copy) {
        return Error::from_errno(errno, "duplicate descriptor " + std::to_string(fd.number()));
    }
    return copy;
}

/// Never 0, 1 or 2, which the child replaces one after the other.
Result<Fd> above_standard(Fd fd) {
    if (fd.ref().number() > STDERR_FILENO) {
        return fd;
    }
    return copy_above_standard(fd.ref());
}

Result<Pipe> make_pipe_above_standard() {
    Pipe pipe = TRY(make_pipe());
    pipe.read = TRY(above_standard(std::move(pipe.read)));
    pipe.write = TRY(above_standard(std::move(pipe.write)));
    return pipe;
}

/// As execvp(3) searches. The name itself if there is a slash in it, or nothing was found.
std::string find_binary(const std::string& name) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of ours changes the environment.
    const char* path = std::getenv("PATH");
    if (name.find('/') != std::string::npos || path == nullptr) {
        return name;
    }
    std::string_view rest(path);
    while (!rest.empty()) {
        const std::size_t length = std::min(rest.find(':'), rest.size());
        std::string candidate = std::string(rest.substr(0, length)) + '/' + name;
        if (::access(candidate.c_str(), X_OK) == 0) {
            return candidate;
        }
        rest.remove_prefix(std::min(length + 1, rest.size()));
    }
    return name;
}

constexpr const char* kChangingDirectory = "working directory";

struct Limit {
    int resource;
    rlim_t value;
};

/// All that the child needs, made before it is born: it shares our memory and must not allocate.
struct Plan {
    std::string binary;
    std::vector<char*> arguments;
    std::vector<char*> environment;
    const char* directory = nullptr;
    int standard[3] = {-1, -1, -1};
    std::vector<Limit> limits;
    cpu_set_t processors{};
    bool is_bound = false;
    int nice = 0;
    bool is_nice = false;
    // What the child reads of the above.
    const char* path = nullptr;
    char* const* first_argument = nullptr;
    char* const* first_variable = nullptr;
    const Limit* first_limit = nullptr;
    const Limit* limits_end = nullptr;
    // Written by the child, if it fails.
    int failure = 0;
    const char* failed_at = nullptr;
};

char* as_argument(const std::string& text) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): execve(2) changes nothing.
    return const_cast<char*>(text.c_str());
}

Plan plan_of(const ProcessWork& work) {
    Plan plan;
    plan.binary = find_binary(work.binary);
    plan.arguments.push_back(as_argument(work.binary));
    for (const std::string& argument : work.arguments) {
        plan.arguments.push_back(as_argument(argument));
    }
    plan.arguments.push_back(nullptr);
    for (const std::string& variable : work.environment) {
        plan.environment.push_back(as_argument(variable));
    }
    plan.environment.push_back(nullptr);
    plan.directory = work.directory.empty() ? nullptr : work.directory.c_str();
    const ResourceLimits& limits = work.limits;
    if (limits.address_space) {
        plan.limits.push_back({.resource = RLIMIT_AS, .value = limits.address_space->value()});
    }
    if (limits.cpu_time) {
        plan.limits.push_back(
            {.resource = RLIMIT_CPU, .value = static_cast<rlim_t>(limits.cpu_time->count())});
    }
    if (limits.open_files) {
        plan.limits.push_back({.resource = RLIMIT_NOFILE, .value = *limits.open_files});
    }
    if (work.nice != 0) {
        plan.nice = std::clamp(::getpriority(PRIO_PROCESS, 0) + work.nice, -20, 19);
        plan.is_nice = true;
    }
    CPU_ZERO(&plan.processors);
    for (const std::size_t processor : limits.processors) {
        CPU_SET(processor, &plan.processors);
        plan.is_bound = true;
    }
    return plan;
}

/// The child borrows our memory, our thread's included: it makes bare system calls, which no
/// sanitizer notes as this thread's.
#define PEPITA_IN_CHILD [[gnu::no_sanitize("thread")]]

PEPITA_IN_CHILD bool fail(Plan& plan, const char* at) {
    plan.failure = errno;
    plan.failed_at = at;
    return false;
}

/// SIG_DFL and no flags, for rt_sigaction(2): ignored signals stay ignored through execve(2).
struct KernelSigaction {
    std::uint64_t words[4];
};

/// Returns only if it failed.
PEPITA_IN_CHILD bool prepare_and_exec(Plan& plan) {
    const KernelSigaction standard{};
    const std::uint64_t none = 0;
    for (long signal = 1; signal < NSIG; ++signal) {
        (void)::syscall(SYS_rt_sigaction, signal, &standard, nullptr, sizeof none);  // two refuse
    }
    (void)::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
    if (::syscall(SYS_setpgid, 0, 0) != 0) {
        return fail(plan, "make a process group");
    }
    if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) {
        return fail(plan, "PR_SET_PDEATHSIG");
    }
    for (long number = 0; number < 3; ++number) {
        if (::syscall(SYS_dup2, plan.standard[number], number) < 0) {
            return fail(plan, "dup2");
        }
    }
    if (plan.directory != nullptr && ::syscall(SYS_chdir, plan.directory) != 0) {
        return fail(plan, kChangingDirectory);
    }
    for (const Limit* limit = plan.first_limit; limit != plan.limits_end; ++limit) {
        const rlimit both{.rlim_cur = limit->value, .rlim_max = limit->value};
        if (::syscall(SYS_prlimit64, 0, limit->resource, &both, nullptr) != 0) {
            return fail(plan, "resource limit");
        }
    }
    if (plan.is_bound &&
        ::syscall(SYS_sched_setaffinity, 0, sizeof plan.processors, &plan.processors) != 0) {
        return fail(plan, "processors");
    }
    if (plan.is_nice && ::syscall(SYS_setpriority, PRIO_PROCESS, 0, plan.nice) != 0) {
        return fail(plan, "nice");
    }
    ::syscall(SYS_execve, plan.path, plan.first_argument, plan.first_variable);
    return fail(plan, "execute");
}

PEPITA_IN_CHILD int child_main(void* plan) {
    (void)prepare_and_exec(*static_cast<Plan*>(plan));
    ::syscall(SYS_exit_group, 127);
    return 127;
}

constexpr std::size_t kChildStack = 64 << 10;

struct Started {
    pid_t pid;
    Fd pidfd;
};

/// Returns when the child runs its program. As posix_spawn(3), which sets no limits, does it.
Result<Started> start_process(Plan& plan) {
    plan.path = plan.binary.c_str();
    plan.first_argument = plan.arguments.data();
    plan.first_variable = plan.environment.data();
    plan.first_limit = plan.limits.data();
    plan.limits_end = plan.limits.data() + plan.limits.size();
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    const auto stack = std::make_unique_for_overwrite<std::byte[]>(kChildStack);
    int pidfd = -1;
    // A handler of ours must not run in the child, on our memory.
    CHECK(::pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    const pid_t pid = ::__clone(&child_main, stack.get() + kChildStack,
                                CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &plan, &pidfd);
    const int clone_errno = errno;
    CHECK(::pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
    if (pid < 0) {
        return Error::from_errno(clone_errno, "clone");
    }
    Started started{.pid = pid, .pidfd = Fd(pidfd)};
    if (plan.failure != 0) {
        CHECK(::waitpid(pid, nullptr, 0) == pid);
        const bool is_directory = std::string_view(plan.failed_at) == kChangingDirectory;
        return Error::from_errno(plan.failure, std::string(plan.failed_at) + " '" +
                                                   (is_directory ? plan.directory : plan.binary) +
                                                   "'");
    }
    return started;
}

}  // namespace

ProcessRun::ProcessRun(const ProcessWork& work, OnEnd on_end)
    : output_max_(work.limits.output.value()), input_(work.input), on_end_(std::move(on_end)) {}

Result<std::unique_ptr<ProcessRun>> ProcessRun::start(EventLoop& loop, const ProcessWork& work,
                                                      OnEnd on_end) {
    std::unique_ptr<ProcessRun> run(new ProcessRun(work, std::move(on_end)));
    Plan plan = plan_of(work);
    Ends theirs;
    if (work.streams == ProcessWork::Streams::Inherited) {
        theirs = TRY(inherited());
    } else {
        theirs = TRY(run->make_pipes());
    }
    plan.standard[0] = theirs.input.ref().number();
    plan.standard[1] = theirs.output.ref().number();
    plan.standard[2] = theirs.errors.ref().number();
    Started started = TRY(start_process(plan));
    // From here on the destructor kills and reaps.
    run->pid_ = started.pid;
    run->pidfd_ = std::move(started.pidfd);
    TRY(run->watch_all(loop));
    return run;
}

Result<ProcessRun::Ends> ProcessRun::make_pipes() {
    Pipe output = TRY(make_pipe_above_standard());
    Pipe errors = TRY(make_pipe_above_standard());
    Pipe input;
    if (input_.empty()) {
        input.read = TRY(above_standard(TRY(open_file("/dev/null", O_RDONLY))));
    } else {
        input = TRY(make_pipe_above_standard());
        stdin_ = std::move(input.write);
        TRY(set_nonblocking(stdin_.ref()));
    }
    stdout_.fd = std::move(output.read);
    stderr_.fd = std::move(errors.read);
    return Ends{.input = std::move(input.read),
                .output = std::move(output.write),
                .errors = std::move(errors.write)};
}

Result<ProcessRun::Ends> ProcessRun::inherited() {
    Ends own;
    // A process group in the background that reads from the terminal would be stopped.
    own.input = ::isatty(STDIN_FILENO) != 0
                    ? TRY(above_standard(TRY(open_file("/dev/null", O_RDONLY))))
                    : TRY(copy_above_standard(FdRef(STDIN_FILENO)));
    own.output = TRY(copy_above_standard(FdRef(STDOUT_FILENO)));
    own.errors = TRY(copy_above_standard(FdRef(STDERR_FILENO)));
    return own;
}

Result<void> ProcessRun::watch_all(EventLoop& loop) {
    for (Stream* stream : {&stdout_, &stderr_}) {
        if (!stream->fd) {
            continue;
        }
        TRY(set_nonblocking(stream->fd.ref()));
        stream->watch = TRY(loop.watch(stream->fd.ref(), EPOLLIN,
                                       [this, stream](std::uint32_t) { read(*stream); }));
    }
    if (stdin_) {
        stdin_watch_ =
            TRY(loop.watch(stdin_.ref(), EPOLLOUT, [this](std::uint32_t) { write_input(); }));
    }
    exit_watch_ = TRY(loop.watch(pidfd_.ref(), EPOLLIN, [this](std::uint32_t) { finish(); }));
    return {};
}

ProcessRun::~ProcessRun() {
    if (pid_ != 0) {
        kill();
        CHECK(::waitpid(pid_, nullptr, 0) == pid_);
    }
}

void ProcessRun::kill() const {
    // The leader is not reaped yet, so the number is still the group's.
    if (pid_ != 0) {
        (void)::kill(-pid_, SIGKILL);
    }
}

void ProcessRun::read(Stream& stream) const {
    std::array<char, 16 << 10> buffer;
    // Bounded: who writes without end must not hold the loop.
    for (int reads = 0; reads < kReadsMax; ++reads) {
        const ssize_t got = ::read(stream.fd.ref().number(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            if (got == 0 || errno != EAGAIN) {
                stream.watch.cancel();
            }
            return;
        }
        const std::size_t room = output_max_ - stream.bytes.size();
        const auto length = static_cast<std::size_t>(got);
        stream.bytes.append(buffer.data(), std::min(room, length));
        stream.truncated = stream.truncated || length > room;
    }
}

void ProcessRun::write_input() {
    while (input_written_ < input_.size()) {
        const ssize_t put = ::write(stdin_.ref().number(), input_.data() + input_written_,
                                    input_.size() - input_written_);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0 && errno == EAGAIN) {
            return;
        }
        if (put < 0) {
            break;  // it reads no more, which is its right
        }
        input_written_ += static_cast<std::size_t>(put);
    }
    stdin_watch_.cancel();
    stdin_ = Fd();
}

void ProcessRun::finish() {
    kill();  // what is left of the group
    Outcome outcome;
    int status = 0;
    CHECK(::wait4(pid_, &status, 0, &outcome.usage) == pid_);
    pid_ = 0;
    exit_watch_.cancel();
    stdin_watch_.cancel();
    for (Stream* stream : {&stdout_, &stderr_}) {
        if (stream->fd) {
            read(*stream);
            stream->watch.cancel();
        }
    }
    outcome.exit = WIFSIGNALED(status)
                       ? ChildExit{.by_signal = true, .value = WTERMSIG(status)}
                       : ChildExit{.by_signal = false, .value = WEXITSTATUS(status)};
    outcome.output = std::move(stdout_.bytes);
    outcome.errors = std::move(stderr_.bytes);
    outcome.output_truncated = stdout_.truncated;
    outcome.errors_truncated = stderr_.truncated;
    on_end_(std::move(outcome));
}

}  // namespace pepita::compute
