#include "runtime/container/child.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

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

Result<std::optional<Fd>> set_up(const ContainerSpec& spec, const std::string& root, Stdio stdio) {
    TRY(set_up_outside(spec));
    const Fd spare_null = TRY(open_file("/dev/null", O_RDWR));
    (void)::umask(0);
    TRY(enter_root(root));
    for (const MountSpec& mount : spec.mounts) {
        TRY(mount_one(mount));
    }
    TRY(make_devices(spec.devices));
    std::optional<Fd> terminal = TRY(open_streams(spec.process, std::move(stdio), spare_null));
    if (terminal) {
        TRY(bind_console());
    }
    for (const std::string& path : spec.masked_paths) {
        TRY(mask_path(path));
    }
    for (const std::string& path : spec.read_only_paths) {
        TRY(make_read_only(path));
    }
    // As runc does; where it cannot be made, entering it says why.
    (void)open_or_make_directory(spec.process.cwd).has_value();
    return terminal;
}

// Says that all is ready, waits for the word, and becomes the program.
[[noreturn]] void wait_and_become(const ProcessSpec& spec, std::optional<Fd> terminal,
                                  FdRef control) {
    const Result<void> said = send_control(
        control, {.kind = Kind::Ready, .value = 0, .words = {}, .fd = std::move(terminal)});
    const auto word = receive_control(control, std::nullopt);
    if (!said || !word || word->kind != Kind::Start) {
        ::_exit(0);  // nobody wants this process any more
    }
    ProcessSpec complete = spec;
    complete.env = environment_of(spec);
    if (const Result<void> applied = apply_credentials(spec); !applied) {
        fail(control, applied.error());
    }
    (void)::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    const int reason = become_program(complete);
    (void)send_control(control,
                       {.kind = Kind::ExecFailed, .value = static_cast<std::uint32_t>(reason)})
        .has_value();
    ::_exit(exit_status_of(reason));
}

Result<std::optional<Fd>> set_up_exec(const ProcessSpec& spec, Stdio stdio) {
    if (::setsid() < 0) {
        return Error::from_errno(errno, "setsid");
    }
    TRY(leave_keyring());
    return open_streams(spec, std::move(stdio), Fd());
}

Result<void> join(const NamespacesSpec& namespaces, FdRef pidfd) {
    std::uint64_t flags = clone_flags(namespaces);
    flags |= namespaces.cgroup ? CLONE_NEWCGROUP : 0U;
    return outcome(::setns(pidfd.number(), static_cast<int>(flags)),
                   "join the container's namespaces");
}

// Whoever is root in the container already could look into this process through its /proc.
Result<void> hide() { return outcome(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE"); }

}  // namespace

void run_container(const ContainerSpec& spec, const std::string& root, Stdio stdio, Fd control) {
    close_all_but({control.ref(), stdio.in.ref(), stdio.out.ref(), stdio.err.ref()});
    restore_signals();
    if (const Result<void> hidden = hide(); !hidden) {
        fail(control.ref(), hidden.error());
    }
    Result<std::optional<Fd>> terminal = set_up(spec, root, std::move(stdio));
    if (!terminal) {
        fail(control.ref(), terminal.error());
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
    // A pid namespace is entered by children only; CLONE_PARENT makes this one the caller's.
    clone_args arguments{};
    arguments.flags = CLONE_PARENT;
    const long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid < 0) {
        fail(control.ref(), Error::from_errno(errno, "clone3"));
    }
    if (pid > 0) {
        ::_exit(0);
    }
    if (!send_control(control.ref(), {.kind = Kind::Joined})) {
        ::_exit(0);
    }
    Result<std::optional<Fd>> terminal = set_up_exec(spec, std::move(stdio));
    if (!terminal) {
        fail(control.ref(), terminal.error());
    }
    wait_and_become(spec, *std::move(terminal), control.ref());
}

}  // namespace pepita::runtime::container
