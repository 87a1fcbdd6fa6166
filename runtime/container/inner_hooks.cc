#include "runtime/container/inner_hooks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/control.h"
#include "runtime/container/credentials.h"
#include "runtime/container/outcome.h"
#include "runtime/container/processes.h"
#include "runtime/container/program.h"

namespace pepita::runtime::container {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kSliceMax = kControlDeadline / 3;

Result<Fd> memory_file(std::string_view text) {
    Fd file(::memfd_create("pepita-hook", MFD_CLOEXEC));
    TRY(outcome(file ? 0 : -1, "memfd_create"));
    TRY(write_all(file.ref(), text, "the state"));
    TRY(outcome(::lseek(file.ref().number(), 0, SEEK_SET), "lseek"));
    return file;
}

std::string with_pid(std::string state) {
    constexpr std::string_view pid = R"("pid":0)";
    if (const std::size_t at = state.find(pid); at != std::string::npos) {
        state.replace(at, pid.size(), "\"pid\":" + std::to_string(::getpid()));
    }
    return state;
}

[[noreturn]] void become_hook(const HookSpec& hook, const ProcessSpec& process,
                              const Confinement& confinement, FdRef input, FdRef output) {
    for (const auto& [from, to] :
         {std::pair(input, 0), std::pair(output, 1), std::pair(output, 2)}) {
        if (::dup2(from.number(), to) < 0) {
            ::_exit(126);
        }
    }
    std::string failure;
    if (const Result<void> applied = apply_credentials(process, confinement); !applied) {
        failure = applied.error().message();
    } else {
        const auto args = hook.args.empty() ? std::vector{hook.path} : hook.args;
        failure = Error::from_errno(become_file(hook.path, args, hook.env), "exec").message();
    }
    (void)!::write(2, failure.data(), failure.size());
    ::_exit(126);
}

// The first line of what it has printed.
std::string words_of(FdRef output) {
    std::array<char, 256> text{};
    const ssize_t got = ::pread(output.number(), text.data(), text.size(), 0);
    const std::string_view all(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    const std::string_view line = all.substr(0, all.find('\n'));
    return line.empty() ? "" : ": " + std::string(line);
}

std::string ending_of(int status) {
    return WIFSIGNALED(status) ? "it was ended by signal " + std::to_string(WTERMSIG(status))
                               : "exit status " + std::to_string(WEXITSTATUS(status));
}

// False where its time is up.
Result<bool> wait_for_end(FdRef pidfd, std::optional<std::uint64_t> timeout_seconds,
                          FdRef control) {
    const auto start = steady_clock::now();
    while (true) {
        std::chrono::milliseconds slice = kSliceMax;
        if (timeout_seconds) {
            const auto left = start + std::chrono::seconds(*timeout_seconds) - steady_clock::now();
            slice = std::min(slice, std::chrono::ceil<std::chrono::milliseconds>(left));
            if (slice.count() <= 0) {
                return false;
            }
        }
        pollfd wanted{.fd = pidfd.number(), .events = POLLIN, .revents = 0};
        if (::poll(&wanted, 1, static_cast<int>(slice.count())) > 0) {
            return true;
        }
        TRY(send_control(control, {.kind = ControlMessage::Kind::Working}));
    }
}

Result<void> run_hook(const HookSpec& hook, const std::string& state, const ProcessSpec& process,
                      const Confinement& confinement, FdRef control) {
    if (::access(hook.path.c_str(), X_OK) != 0) {
        return Error::from_errno(errno,
                                 "a hook of this kind runs in the container, which does not "
                                 "have it as a program");
    }
    const Fd input = TRY(memory_file(with_pid(state)));
    const Fd output = TRY(memory_file(""));
    const pid_t pid = ::fork();
    if (pid == 0) {
        become_hook(hook, process, confinement, input.ref(), output.ref());
    }
    TRY(outcome(pid, "fork"));
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    Result<bool> ended = Error::from_errno(errno, "pidfd_open");
    if (pidfd) {
        ended = wait_for_end(pidfd.ref(), hook.timeout_seconds, control);
    }
    if (!ended || !*ended) {
        (void)::kill(pid, SIGKILL);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (!TRY(std::move(ended))) {
        return Error(
            Code::DeadlineExceeded,
            "it has not ended within " + std::to_string(hook.timeout_seconds.value_or(0)) + " s");
    }
    if (status != 0) {
        return Error(Code::FailedPrecondition, ending_of(status) + words_of(output.ref()));
    }
    return {};
}

}  // namespace

Result<void> run_hooks(std::string_view kind, const std::vector<HookSpec>& hooks,
                       const std::string& state, const ProcessSpec& process,
                       const Confinement& confinement, FdRef control) {
    for (const HookSpec& hook : hooks) {
        TRY(run_hook(hook, state, process, confinement, control), std::string(kind), " hook '",
            hook.path, "'");
    }
    return {};
}

ProcessSpec preparing(ProcessSpec process) {
    process.uid = 0;
    process.gid = 0;
    process.additional_gids.clear();
    process.cwd = "/";
    return process;
}

}  // namespace pepita::runtime::container
