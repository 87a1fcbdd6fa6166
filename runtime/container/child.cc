#include "runtime/container/child.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
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
#include "runtime/container/inner_hooks.h"
#include "runtime/container/inside.h"
#include "runtime/container/mounts.h"
#include "runtime/container/namespaces.h"
#include "runtime/container/outcome.h"
#include "runtime/container/program.h"
#include "runtime/container/root.h"
#include "runtime/container/streams.h"
#include "runtime/container/terminal.h"
#include "runtime/container/users.h"

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

// Whether the namespace that a parameter belongs to is the container's own.
bool is_own(const SysctlSpec& sysctl, const NamespacesSpec& namespaces) {
    if (sysctl.name.starts_with("net.")) {
        return namespaces.network;
    }
    const bool is_uts = sysctl.name == "kernel.hostname" || sysctl.name == "kernel.domainname";
    return is_uts ? namespaces.uts : namespaces.ipc;
}

enum class Sysctls : bool { Own, Others };

// A user namespace may set those of its own namespaces alone.
Result<void> set_sysctls(const ContainerSpec& spec, Sysctls which) {
    for (const SysctlSpec& sysctl : spec.sysctls) {
        if (spec.namespaces.user && is_own(sysctl, spec.namespaces) != (which == Sysctls::Own)) {
            continue;
        }
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
Result<void> set_up_outside(const ContainerSpec& spec, const Inherited& inherited) {
    if (::setsid() < 0) {
        return Error::from_errno(errno, "setsid");
    }
    TRY(leave_keyring());
    if (inherited.ipc_of.number() >= 0) {
        TRY(outcome(::setns(inherited.ipc_of.number(), CLONE_NEWIPC), "join an ipc namespace"));
    }
    if (inherited.uts_of.number() >= 0) {
        TRY(outcome(::setns(inherited.uts_of.number(), CLONE_NEWUTS), "join a uts namespace"));
    }
    if (spec.namespaces.cgroup) {
        TRY(outcome(::unshare(CLONE_NEWCGROUP), "make a cgroup namespace"));
    }
    if (spec.namespaces.network) {
        TRY(raise_loopback());
    }
    TRY(set_names(spec));
    TRY(set_sysctls(spec, Sysctls::Own));
    // In a user namespace it is the parent's to set.
    return spec.namespaces.user ? Result<void>() : set_oom_score(spec.process);
}

// Mounts of what is in trees or on disks, and the root: mounted nowhere yet where it is of a user
// namespace.
struct Staged {
    Fd root;
    std::vector<Fd> mounts;
};

// A user namespace may not mount a view of a namespace that is not its own.
bool is_staged_view(const ContainerSpec& spec, const MountSpec& mount) {
    const NamespacesSpec& own = spec.namespaces;
    return own.user &&
           ((mount.type == "sysfs" && !own.network) || (mount.type == "proc" && !own.pid) ||
            (mount.type == "mqueue" && !own.ipc && own.ipc_of.empty()));
}

Result<Fd> receive_mount(FdRef staged, FdRef control) {
    while (true) {
        ControlMessage message = TRY(receive_control(staged));
        switch (message.kind) {
            case Kind::Claimed:
                TRY(send_control(control, message));
                break;
            case Kind::Ready:
                return std::move(message.fd).value_or(Fd());
            case Kind::Failed:
                return error_of(message);
            case Kind::Closed:
            case Kind::Working:
            case Kind::Id:
            case Kind::ExecFailed:
            case Kind::Mapped:
            case Kind::Start:
                return Error(Code::Internal, "the mounts of the root did not come");
        }
    }
}

Result<Staged> receive_staged(const ContainerSpec& spec, FdRef staged, FdRef control) {
    Staged out{.root = TRY(receive_mount(staged, control)), .mounts = {}};
    for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
        out.mounts.push_back(TRY(receive_mount(staged, control)));
    }
    return out;
}

Result<Fd> mount_view(const MountSpec& mount, const RootMounts& root) {
    const std::string place = root.staging_directory + "/" + mount.type;
    (void)::mkdir(place.c_str(), 0700);
    TRY(outcome(::mount(mount.type.c_str(), place.c_str(), mount.type.c_str(), 0, nullptr),
                "mount " + mount.type));
    const Fd view = TRY(open_file(place.c_str(), O_PATH | O_DIRECTORY));
    Fd copy = TRY(copy_mount(view.ref(), mount_attributes(mount.options)));
    // There may be one more to come.
    TRY(outcome(::umount2(place.c_str(), MNT_DETACH), "unmount " + mount.type));
    return copy;
}

Result<Staged> stage(const ContainerSpec& spec, const RootMounts& root, FdRef control) {
    TRY(set_sysctls(spec, Sysctls::Others));
    MountedRoot mounted = TRY(mount_root(root, spec.mounts, control));
    Staged out{.root = {}, .mounts = std::move(mounted.trees)};
    const Fd top = TRY(open_file(mounted.path.c_str(), O_PATH | O_DIRECTORY));
    out.root = TRY(copy_mount(top.ref(), 0));
    for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
        if (is_staged_view(spec, spec.mounts[i])) {
            out.mounts[i] = TRY(mount_view(spec.mounts[i], root));
        }
    }
    return out;
}

Result<void> mount_all(const ContainerSpec& spec, const std::vector<Fd>& trees) {
    for (std::size_t i = 0; i < spec.mounts.size(); ++i) {
        MountSpec mount = spec.mounts[i];
        if (is_staged_view(spec, mount)) {
            mount.type = "bind";
        }
        TRY(mount_one(mount, trees[i]));
    }
    return {};
}

Result<void> make_root(const ContainerSpec& spec, const RootMounts& root, FdRef control) {
    const MountedRoot mounted = TRY(mount_root(root, spec.mounts, control));
    TRY(enter_root(mounted.path));
    TRY(mount_all(spec, mounted.trees));
    return make_devices(spec.devices, std::nullopt);
}

Result<void> make_root_of_user_namespace(const ContainerSpec& spec, const RootMounts& root,
                                         FdRef staged, FdRef control) {
    const Staged all = TRY(receive_staged(spec, staged, control));
    TRY(outcome(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr),
                "make the mounts private"));
    const NestedRoot nested = TRY(nest_root(root.staging_directory, all.root.ref()));
    TRY(mount_all(spec, all.mounts));
    // No user namespace may make nodes, so there they are those of the old root.
    TRY(make_devices(spec.devices, nested.old.ref()));
    return leave_old_root(nested);
}

// Of the container's own mounts; nothing of the host's is mounted in its guest, so it is between
// the container's namespace and those that its processes make.
Result<void> propagate(Propagation propagation) {
    unsigned long flag = 0;
    switch (propagation) {
        case Propagation::None:
            return {};
        case Propagation::Private:
            flag = MS_PRIVATE;
            break;
        case Propagation::Slave:
            flag = MS_SLAVE;
            break;
        case Propagation::Shared:
            flag = MS_SHARED;
            break;
        case Propagation::Unbindable:
            flag = MS_UNBINDABLE;
            break;
    }
    return outcome(::mount(nullptr, "/", nullptr, MS_REC | flag, nullptr),
                   "set the propagation of the root");
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
    if (spec.root_read_only) {
        TRY(make_root_read_only());
    }
    return propagate(spec.root_propagation);
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

// The ids of the user namespace are mapped by the parent.
Result<void> become_mapped(FdRef control) {
    const ControlMessage word = TRY(receive_control(control));
    if (word.kind == Kind::Failed) {
        return error_of(word);
    }
    if (word.kind != Kind::Mapped) {
        return Error(Code::Internal, "the ids of the user namespace were not mapped");
    }
    return become_inner_root();
}

// Who the process is to be, for those who ask.
Result<void> send_ids(const ProcessSpec& spec, FdRef control) {
    TRY(send_control(control, {.kind = Kind::Id, .value = spec.uid}));
    TRY(send_control(control, {.kind = Kind::Id, .value = spec.gid}));
    for (const std::uint32_t group : spec.additional_gids) {
        TRY(send_control(control, {.kind = Kind::Id, .value = group}));
    }
    return {};
}

// Finds the user of `spec`, too, once the files are there that name it.
Result<std::optional<Fd>> set_up(ContainerSpec& spec, const RootMounts& root,
                                 Inherited& inherited) {
    const FdRef control = inherited.control.ref();
    if (spec.namespaces.user) {
        TRY(become_mapped(control));
    }
    TRY(set_up_outside(spec, inherited));
    const Fd spare_null = TRY(open_file("/dev/null", O_RDWR));
    (void)::umask(0);
    TRY(spec.namespaces.user
            ? make_root_of_user_namespace(spec, root, inherited.staged.ref(), control)
            : make_root(spec, root, control));
    TRY(settle_user(spec.process));
    TRY(send_ids(spec.process, control));
    std::optional<Fd> terminal =
        TRY(open_streams(spec.process, std::move(inherited.stdio), spare_null));
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
[[noreturn]] void wait_and_become(const ProcessSpec& spec, const Confinement& confinement,
                                  const InnerHooks& hooks, std::optional<Fd> terminal,
                                  FdRef control) {
    const Result<void> said = send_control(
        control, {.kind = Kind::Ready, .value = 0, .words = {}, .fd = std::move(terminal)});
    const auto word = receive_control(control);
    if (!said || !word || word->kind != Kind::Start) {
        ::_exit(0);  // nobody wants this process any more
    }
    ProcessSpec complete = spec;
    complete.env = environment_of(spec);
    Result<void> applied = run_hooks("startContainer", hooks.start_container, hooks.start_state,
                                     spec, confinement, control);
    if (applied) {
        applied = apply_credentials(spec, confinement);
    }
    if (!applied) {
        fail(control, applied.error());
    }
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
    const std::uint64_t flags = join_flags(namespaces) & ~static_cast<std::uint64_t>(CLONE_NEWPID);
    TRY(outcome(::setns(pidfd.number(), static_cast<int>(flags)),
                "join the container's namespaces"));
    return namespaces.user ? become_inner_root() : Result<void>();
}

// Whoever is root in the container already could look into this process through its /proc.
Result<void> hide() { return outcome(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE"); }

}  // namespace

void run_container(ContainerSpec spec, const RootMounts& root, Inherited inherited) {
    const Stdio& stdio = inherited.stdio;
    close_all_but({inherited.control.ref(), inherited.staged.ref(), inherited.ipc_of,
                   inherited.uts_of, stdio.in.ref(), stdio.out.ref(), stdio.err.ref()});
    restore_signals();
    const FdRef control = inherited.control.ref();
    if (const Result<void> hidden = hide(); !hidden) {
        fail(control, hidden.error());
    }
    Result<std::optional<Fd>> terminal = set_up(spec, root, inherited);
    if (!terminal) {
        fail(control, terminal.error());
    }
    if (const int reason = look_up_program(spec.process); reason != 0) {
        fail_to_run(control, reason);
    }
    const Confinement confinement = confinement_of(spec);
    if (const Result<void> prepared =
            run_hooks("createContainer", spec.hooks.create_container, spec.hooks.create_state,
                      preparing(spec.process), confinement, control);
        !prepared) {
        fail(control, prepared.error());
    }
    wait_and_become(spec.process, confinement, spec.hooks, *std::move(terminal), control);
}

void run_stager(const ContainerSpec& spec, const RootMounts& root, Fd control) {
    close_all_but({control.ref(), root.id_mapping});
    restore_signals();
    Result<Staged> staged = stage(spec, root, control.ref());
    if (!staged) {
        fail(control.ref(), staged.error());
    }
    (void)send_control(control.ref(), {.kind = Kind::Ready, .fd = std::move(staged->root)})
        .has_value();
    for (Fd& mount : staged->mounts) {
        (void)send_control(
            control.ref(),
            {.kind = Kind::Ready, .fd = mount ? std::optional(std::move(mount)) : std::nullopt})
            .has_value();
    }
    ::_exit(0);
}

void run_exec(const NamespacesSpec& namespaces, ProcessSpec spec, const Confinement& confinement,
              FdRef pidfd, Stdio stdio, Fd control) {
    close_all_but({control.ref(), pidfd, stdio.in.ref(), stdio.out.ref(), stdio.err.ref()});
    restore_signals();
    // While /proc is still the caller's.
    Result<void> joined = set_oom_score(spec);
    if (joined && namespaces.user) {
        joined = raise_rlimits(spec.rlimits, 0);
    }
    if (joined) {
        joined = hide();
    }
    if (joined) {
        joined = join(namespaces, pidfd);
    }
    if (joined) {
        joined = settle_user(spec);
    }
    if (!joined) {
        fail(control.ref(), joined.error());
    }
    Result<std::optional<Fd>> terminal = set_up_exec(spec, std::move(stdio));
    if (!terminal) {
        fail(control.ref(), terminal.error());
    }
    wait_and_become(spec, confinement, InnerHooks(), *std::move(terminal), control.ref());
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
