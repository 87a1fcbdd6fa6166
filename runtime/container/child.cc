#include "runtime/container/child.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/control.h"
#include "runtime/container/credentials.h"
#include "runtime/container/devices.h"
#include "runtime/container/engine.h"
#include "runtime/container/home.h"
#include "runtime/container/inside.h"
#include "runtime/container/mounts.h"
#include "runtime/container/namespaces.h"
#include "runtime/container/outcome.h"
#include "runtime/container/program.h"
#include "runtime/container/root.h"
#include "runtime/container/streams.h"
#include "runtime/container/terminal.h"

namespace pepita::runtime::container {
namespace {

using Kind = ControlMessage::Kind;

[[noreturn]] void fail(FdRef control, const Error& error) {
    (void)send_control(control, failed(error)).has_value();
    ::_exit(1);
}

// What pepita-init has made of itself and a program must not inherit.
void restore_signals() {
    sigset_t none;
    (void)::sigemptyset(&none);
    (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
        (void)::signal(signal, SIG_DFL);
    }
}

Result<void> set_names(const ContainerSpec& spec) {
    if (!spec.hostname.empty()) {
        TRY(outcome(::sethostname(spec.hostname.data(), spec.hostname.size()), "set hostname"));
    }
    if (!spec.domainname.empty()) {
        TRY(outcome(::setdomainname(spec.domainname.data(), spec.domainname.size()),
                    "set domainname"));
    }
    return {};
}

Result<void> set_sysctls(const ContainerSpec& spec) {
    for (const SysctlSpec& sysctl : spec.sysctls) {
        std::string path = "/proc/sys/" + sysctl.name;
        std::replace(path.begin() + 10, path.end(), '.', '/');
        TRY(write_file(path, sysctl.value), "sysctl '", sysctl.name, "'");
    }
    return {};
}

// The parts of a process that need the caller's /proc, which the container may not have.
Result<void> set_oom_score(const ProcessSpec& spec) {
    if (spec.oom_score_adj) {
        TRY(write_file("/proc/self/oom_score_adj", std::to_string(*spec.oom_score_adj)),
            "oom_score_adj");
    }
    return {};
}

// Keys of the parent's session are not the container's. Anonymous, so each process has its own.
Result<void> leave_keyring() {
    if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS) {
        return Error::from_errno(errno, "make a session keyring");
    }
    return {};
}

Result<std::optional<Fd>> open_streams(const ProcessSpec& spec, Stdio stdio, const Fd& spare_null) {
    std::optional<Fd> terminal;
    if (spec.terminal == Terminal::Yes) {
        terminal = TRY(open_terminal(spec));
    } else {
        TRY(place_stdio(std::move(stdio), spare_null, spec.uid));
    }
    return terminal;
}

// What is done while the root and /proc are still the parent's.
Result<void> set_up_outside(const ContainerSpec& spec) {
    if (::setsid() < 0) {
        return Error::from_errno(errno, "setsid");
    }
    TRY(leave_keyring());
    if (spec.namespaces.cgroup) {
        TRY(outcome(::unshare(CLONE_NEWCGROUP), "make a cgroup namespace"));
    }
    if (spec.namespaces.network) {
        TRY(raise_loopback());
    }
    TRY(set_names(spec));
    TRY(set_sysctls(spec));
    return set_oom_score(spec.process);
}

Result<void> mount_everything(const ContainerSpec& spec, const RootMounts& root, FdRef control) {
    const std::string path = TRY(mount_root(root, control));
    const std::vector<Fd> trees = TRY(open_trees(root, spec.mounts));
    TRY(enter_root(path));
    for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
        TRY(mount_one(spec.mounts[i], trees[i]));
    }
    return {};
}

// Once nothing more is made.
Result<void> protect(const ContainerSpec& spec) {
    TRY(finish_mounts(spec.mounts));
    for (const std::string& path : spec.masked_paths) {
        TRY(mask_path(path));
    }
    for (const std::string& path : spec.read_only_paths) {
        TRY(make_read_only(path));
    }
    return spec.root_read_only ? make_root_read_only() : Result<void>();
}

// As runc does, a program that is not there is found out before the start. What it takes to enter
// the working directory is not known before.
int look_up_program(const ProcessSpec& spec) {
    const Result<Fd> directory = open_inside(spec.cwd, O_PATH | O_DIRECTORY);
    if (!directory || ::fchdir(directory->ref().number()) != 0) {
        return 0;
    }
    const int reason = find_program(spec);
    return ::chdir("/") == 0 ? reason : errno;
}

Result<std::optional<Fd>> set_up(const ContainerSpec& spec, const RootMounts& root, Stdio stdio,
                                 FdRef control) {
    TRY(set_up_outside(spec));
    const Fd spare_null = TRY(open_file("/dev/null", O_RDWR));
    (void)::umask(0);
    TRY(mount_everything(spec, root, control));
    TRY(make_devices(spec.devices));
    std::optional<Fd> terminal = TRY(open_streams(spec.process, std::move(stdio), spare_null));
    if (terminal) {
        TRY(bind_console());
    }
    // As runc does; where it cannot be made, entering it says why.
    (void)open_or_make_directory(spec.process.cwd).has_value();
    TRY(protect(spec));
    return terminal;
}

[[noreturn]] void fail_to_run(FdRef control, int reason) {
    (void)send_control(control,
                       {.kind = Kind::ExecFailed, .value = static_cast<std::uint32_t>(reason)})
        .has_value();
    ::_exit(exit_status_of(reason));
}

// Says that all is ready, waits for the word, and becomes the program.
[[noreturn]] void wait_and_become(const ProcessSpec& spec, std::optional<Fd> terminal,
                                  FdRef control) {
    const Result<void> said = send_control(
        control, {.kind = Kind::Ready, .value = 0, .words = {}, .fd = std::move(terminal)});
    const auto word = receive_control(control);
    if (!said || !word || word->kind != Kind::Start) {
        ::_exit(0);  // nobody wants this process any more
    }
    ProcessSpec complete = spec;
    complete.env = environment_of(spec);
    if (const Result<void> applied = apply_credentials(spec); !applied) {
        fail(control, applied.error());
    }
    (void)::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    fail_to_run(control, become_program(complete));
}

Result<std::optional<Fd>> set_up_exec(const ProcessSpec& spec, Stdio stdio) {
    if (::setsid() < 0) {
        return Error::from_errno(errno, "setsid");
    }
    TRY(leave_keyring());
    return open_streams(spec, std::move(stdio), Fd());
}

Result<void> join(const NamespacesSpec& namespaces, FdRef pidfd) {
    std::uint64_t flags = clone_flags(namespaces) & ~static_cast<std::uint64_t>(CLONE_NEWPID);
    flags |= namespaces.cgroup ? CLONE_NEWCGROUP : 0U;
    return outcome(::setns(pidfd.number(), static_cast<int>(flags)),
                   "join the container's namespaces");
}

// Whoever is root in the container already could look into this process through its /proc.
Result<void> hide() { return outcome(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE"); }

}  // namespace

void run_container(const ContainerSpec& spec, const RootMounts& root, Stdio stdio, Fd control) {
    close_all_but({control.ref(), stdio.in.ref(), stdio.out.ref(), stdio.err.ref()});
    restore_signals();
    if (const Result<void> hidden = hide(); !hidden) {
        fail(control.ref(), hidden.error());
    }
    Result<std::optional<Fd>> terminal = set_up(spec, root, std::move(stdio), control.ref());
    if (!terminal) {
        fail(control.ref(), terminal.error());
    }
    if (const int reason = look_up_program(spec.process); reason != 0) {
        fail_to_run(control.ref(), reason);
    }
    wait_and_become(spec.process, *std::move(terminal), control.ref());
}

void run_exec(const NamespacesSpec& namespaces, const ProcessSpec& spec, FdRef pidfd, Stdio stdio,
              Fd control) {
    close_all_but({control.ref(), pidfd, stdio.in.ref(), stdio.out.ref(), stdio.err.ref()});
    restore_signals();
    // While /proc is still the caller's.
    Result<void> joined = set_oom_score(spec);
    if (joined) {
        joined = hide();
    }
    if (joined) {
        joined = join(namespaces, pidfd);
    }
    if (!joined) {
        fail(control.ref(), joined.error());
    }
    Result<std::optional<Fd>> terminal = set_up_exec(spec, std::move(stdio));
    if (!terminal) {
        fail(control.ref(), terminal.error());
    }
    wait_and_become(spec, *std::move(terminal), control.ref());
}

void run_cleaner(const RootMounts& root, Fd control) {
    close_all_but({control.ref()});
    if (const Result<void> cleaned = clean_scratch(root); !cleaned) {
        fail(control.ref(), cleaned.error());
    }
    (void)send_control(control.ref(), {.kind = Kind::Ready}).has_value();
    ::_exit(0);
}

}  // namespace pepita::runtime::container
