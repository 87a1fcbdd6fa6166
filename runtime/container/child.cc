#include "runtime/container/child.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>  // unlockpt
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/control.h"
#include "runtime/container/credentials.h"
#include "runtime/container/devices.h"
#include "runtime/container/engine.h"
#include "runtime/container/files.h"
#include "runtime/container/mounts.h"
#include "runtime/container/namespaces.h"
#include "runtime/container/program.h"

namespace pepita::runtime::container {
namespace {

using Kind = ControlMessage::Kind;

Result<void> outcome(long result, const std::string& doing) {
    if (result < 0) {
        return Error::from_errno(errno, doing);
    }
    return {};
}

[[noreturn]] void fail(FdRef control, const Error& error) {
    (void)send_control(control, {.kind = Kind::Failed,
                                 .value = static_cast<std::uint32_t>(error.code()),
                                 .words = error.message(),
                                 .fd = {}})
        .has_value();
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

Result<void> place_stdio(Stdio stdio) {
    int number = 0;
    for (Fd* end : {&stdio.in, &stdio.out, &stdio.err}) {
        if (!*end) {
            *end = TRY(open_file("/dev/null", O_RDWR));
        }
        // Off the numbers that are being filled.
        Fd moved(::fcntl(end->ref().number(), F_DUPFD_CLOEXEC, 3));
        TRY(outcome(moved ? 0 : -1, "duplicate a stream"));
        *end = std::move(moved);
    }
    for (const Fd* end : {&stdio.in, &stdio.out, &stdio.err}) {
        TRY(outcome(::dup2(end->ref().number(), number), "dup2"));
        ++number;
    }
    return {};
}

// A terminal of the container's own devpts as standard streams and controlling terminal; gives its
// master.
Result<Fd> open_terminal(const ProcessSpec& spec) {
    Fd master = TRY(open_file("/dev/pts/ptmx", O_RDWR | O_NOCTTY), "terminal");
    TRY(outcome(::unlockpt(master.ref().number()), "unlock the terminal"));
    const Fd slave(::ioctl(master.ref().number(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
    TRY(outcome(slave ? 0 : -1, "open the terminal"));
    if (spec.window != WindowSize()) {
        winsize size{};
        size.ws_row = static_cast<unsigned short>(spec.window.rows);
        size.ws_col = static_cast<unsigned short>(spec.window.columns);
        TRY(outcome(::ioctl(slave.ref().number(), TIOCSWINSZ, &size), "set the window size"));
    }
    TRY(outcome(::fchown(slave.ref().number(), spec.uid, static_cast<gid_t>(-1)),
                "give the terminal to its user"));
    TRY(outcome(::ioctl(slave.ref().number(), TIOCSCTTY, 0), "take the terminal"));
    for (const int standard : {0, 1, 2}) {
        TRY(outcome(::dup2(slave.ref().number(), standard), "dup2"));
    }
    return master;
}

// /dev/console of a container is its terminal.
Result<void> bind_console() {
    const Fd file(::open("/dev/console", O_RDWR | O_CREAT | O_NOCTTY | O_CLOEXEC, 0600));
    TRY(outcome(file ? 0 : -1, "make '/dev/console'"));
    return outcome(::mount("/proc/self/fd/0", "/dev/console", nullptr, MS_BIND, nullptr),
                   "bind '/dev/console'");
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

Result<std::optional<Fd>> set_up(const ContainerSpec& spec, const std::string& root, Stdio stdio) {
    TRY(outcome(::setsid(), "setsid"));
    if (spec.namespaces.cgroup) {
        TRY(outcome(::unshare(CLONE_NEWCGROUP), "make a cgroup namespace"));
    }
    if (spec.namespaces.network) {
        TRY(raise_loopback());
    }
    TRY(set_names(spec));
    TRY(set_sysctls(spec));
    TRY(set_oom_score(spec.process));
    if (spec.process.terminal == Terminal::No) {
        TRY(place_stdio(std::move(stdio)));
    }
    (void)::umask(0);
    TRY(enter_root(root));
    for (const MountSpec& mount : spec.mounts) {
        TRY(mount_one(mount));
    }
    TRY(make_devices(spec.devices));
    std::optional<Fd> terminal;
    if (spec.process.terminal == Terminal::Yes) {
        terminal = TRY(open_terminal(spec.process));
        TRY(bind_console());
    }
    for (const std::string& path : spec.masked_paths) {
        TRY(mask_path(path));
    }
    for (const std::string& path : spec.read_only_paths) {
        TRY(make_read_only(path));
    }
    // As runc does; where it cannot be made, entering it says why.
    (void)make_directories(spec.process.cwd).has_value();
    (void)::umask(0022);
    return terminal;
}

bool is_told_to_start(FdRef control) {
    const Result<std::optional<ControlMessage>> received = receive_control(control);
    if (!received) {
        return false;
    }
    const std::optional<ControlMessage>& word = *received;
    return word && word->kind == Kind::Start;
}

// Says that all is ready, waits for the word, and becomes the program.
[[noreturn]] void wait_and_become(const ProcessSpec& spec, std::optional<Fd> terminal,
                                  FdRef control) {
    const Result<void> said = send_control(
        control, {.kind = Kind::Ready, .value = 0, .words = {}, .fd = std::move(terminal)});
    if (!said || !is_told_to_start(control)) {
        ::_exit(0);  // nobody wants this process any more
    }
    if (const Result<void> applied = apply_credentials(spec); !applied) {
        fail(control, applied.error());
    }
    if (const auto entered = outcome(::chdir(spec.cwd.c_str()), "enter '" + spec.cwd + "'");
        !entered) {
        fail(control, entered.error());
    }
    (void)::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    const int reason = become_program(spec);
    (void)send_control(control, {.kind = Kind::ExecFailed,
                                 .value = static_cast<std::uint32_t>(reason),
                                 .words = {},
                                 .fd = {}})
        .has_value();
    ::_exit(exit_status_of(reason));
}

Result<std::optional<Fd>> set_up_exec(const ProcessSpec& spec, Stdio stdio) {
    TRY(outcome(::setsid(), "setsid"));
    std::optional<Fd> terminal;
    if (spec.terminal == Terminal::Yes) {
        terminal = TRY(open_terminal(spec));
    } else {
        TRY(place_stdio(std::move(stdio)));
    }
    return terminal;
}

Result<void> join(const NamespacesSpec& namespaces, FdRef pidfd) {
    std::uint64_t flags = clone_flags(namespaces);
    flags |= namespaces.cgroup ? CLONE_NEWCGROUP : 0U;
    return outcome(::setns(pidfd.number(), static_cast<int>(flags)),
                   "join the container's namespaces");
}

}  // namespace

void run_container(const ContainerSpec& spec, const std::string& root, Stdio stdio, FdRef control) {
    restore_signals();
    Result<std::optional<Fd>> terminal = set_up(spec, root, std::move(stdio));
    if (!terminal) {
        fail(control, terminal.error());
    }
    wait_and_become(spec.process, *std::move(terminal), control);
}

void run_exec(const NamespacesSpec& namespaces, const ProcessSpec& spec, FdRef pidfd, Stdio stdio,
              FdRef control) {
    restore_signals();
    // While /proc is still the caller's.
    Result<void> joined = set_oom_score(spec);
    if (joined) {
        joined = join(namespaces, pidfd);
    }
    if (!joined) {
        fail(control, joined.error());
    }
    // A pid namespace is entered by children only; CLONE_PARENT makes this one the caller's.
    clone_args arguments{};
    arguments.flags = CLONE_PARENT;
    const long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid < 0) {
        fail(control, Error::from_errno(errno, "clone3"));
    }
    if (pid > 0) {
        (void)send_control(control, {.kind = Kind::Spawned,
                                     .value = static_cast<std::uint32_t>(pid),
                                     .words = {},
                                     .fd = {}})
            .has_value();
        ::_exit(0);
    }
    Result<std::optional<Fd>> terminal = set_up_exec(spec, std::move(stdio));
    if (!terminal) {
        fail(control, terminal.error());
    }
    wait_and_become(spec, *std::move(terminal), control);
}

}  // namespace pepita::runtime::container
