#include "runtime/container/engine.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/child.h"
#include "runtime/container/control.h"
#include "runtime/container/files.h"
#include "runtime/container/namespaces.h"

namespace pepita::runtime::container {
namespace {

using Kind = ControlMessage::Kind;

/// The root file system of one container on our side: mounts and the directory they are in. It
/// goes with this object.
class Root {
public:
    explicit Root(std::string directory) : directory_(std::move(directory)) {}
    Root(const Root&) = delete;
    Root& operator=(const Root&) = delete;
    Root(Root&&) = delete;
    Root& operator=(Root&&) = delete;
    ~Root() { remove(); }

    std::string path() const { return directory_ + "/root"; }

    Result<void> mount(const std::string& device, bool is_read_only) {
        if (::mkdir(directory_.c_str(), 0700) != 0) {
            return Error::from_errno(errno, "make directory '" + directory_ + "'");
        }
        TRY(make_directory(path()));
        if (is_read_only) {
            return mount_one(device, path(), "erofs", MS_RDONLY, "");
        }
        const std::string lower = directory_ + "/lower";
        const std::string writable = directory_ + "/writable";
        TRY(make_directory(lower));
        TRY(make_directory(writable));
        TRY(mount_one(device, lower, "erofs", MS_RDONLY, ""));
        TRY(mount_one("tmpfs", writable, "tmpfs", 0, "mode=0700"));
        TRY(make_directory(writable + "/upper"));
        TRY(make_directory(writable + "/work"));
        return mount_one(
            "overlay", path(), "overlay", 0,
            "lowerdir=" + lower + ",upperdir=" + writable + "/upper,workdir=" + writable + "/work");
    }

    void remove() {
        for (const std::string& mounted : std::exchange(mounted_, {})) {
            (void)::umount2(mounted.c_str(), MNT_DETACH);
        }
        for (const char* name : {"/root", "/writable", "/lower", ""}) {
            (void)::rmdir((directory_ + name).c_str());
        }
    }

private:
    Result<void> mount_one(const std::string& source, const std::string& target, const char* type,
                           unsigned long flags, const std::string& data) {
        if (::mount(source.c_str(), target.c_str(), type, flags, data.c_str()) != 0) {
            return Error::from_errno(errno, std::string("mount the root's ") + type);
        }
        mounted_.insert(mounted_.begin(), target);  // unmounted in the other order
        return {};
    }

    std::string directory_;
    std::vector<std::string> mounted_;
};

Result<pid_t> fork_into(std::uint64_t flags, const Cgroup* cgroup) {
    clone_args arguments{};
    arguments.flags = flags;
    arguments.exit_signal = SIGCHLD;
    if (cgroup != nullptr) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = static_cast<unsigned>(cgroup->fd().number());
    }
    const long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid < 0) {
        return Error::from_errno(errno, "clone3");
    }
    return static_cast<pid_t>(pid);
}

void reap(pid_t pid) {
    while (::waitpid(pid, nullptr, 0) == -1 && errno == EINTR) {}
}

// The child's first word, or what kept it from saying one.
Result<ControlMessage> first_word(FdRef control) {
    std::optional<ControlMessage> message = TRY(receive_control(control));
    if (!message) {
        return Error(Code::Internal, "the process ended before it was ready");
    }
    if (message->kind == Kind::Failed) {
        return error_of(*message);
    }
    return *std::move(message);
}

// After a failure of one of the two processes of an exec: the pid of the second, if the first had
// it and has not been heard yet. Waits until both are gone.
std::optional<pid_t> spawned_yet(FdRef control) {
    std::optional<pid_t> pid;
    while (true) {
        const Result<std::optional<ControlMessage>> received = receive_control(control);
        if (!received) {
            return pid;
        }
        const std::optional<ControlMessage>& message = *received;
        if (!message) {
            return pid;
        }
        if (message->kind == Kind::Spawned) {
            pid = static_cast<pid_t>(message->value);
        }
    }
}

bool wants_limits(const ResourcesSpec& resources) {
    return resources.memory_limit_bytes || resources.pids_limit || resources.cpu_shares ||
           resources.cpu_quota_us || resources.cpu_period_us;
}

}  // namespace

Process::Process(pid_t pid, Fd control, std::optional<Fd> terminal)
    : pid_(pid), control_(std::move(control)), terminal_(std::move(terminal)) {}

Result<std::uint32_t> Process::start() {
    if (!control_) {
        return Error(Code::FailedPrecondition, "it was started before");
    }
    const Fd control = std::move(control_);
    TRY(send_control(control.ref(), {.kind = Kind::Start, .value = 0, .words = {}, .fd = {}}),
        "start");
    const std::optional<ControlMessage> message = TRY(receive_control(control.ref()));
    if (!message) {
        return 0U;
    }
    if (message->kind == Kind::ExecFailed) {
        return message->value;
    }
    return error_of(*message);
}

struct Container::State {
    ContainerSpec spec;
    std::unique_ptr<Cgroup> cgroup;
    std::unique_ptr<Root> root;
    std::unique_ptr<Process> process;  // always, once the container is made
};

Container::Container(std::unique_ptr<State> state) : state_(std::move(state)) {}

Container::~Container() {
    if (state_) {
        (void)remove().has_value();
    }
}

Process& Container::process() { return *state_->process; }

Result<std::unique_ptr<Container>> Container::create(const ContainerSpec& spec,
                                                     const Options& options, Stdio stdio) {
    if (!spec.namespaces.mount) {
        return Error(Code::Unsupported, "a container without a mount namespace");
    }
    auto state = std::make_unique<State>();
    state->spec = spec;
    if (!options.cgroup_directory.empty()) {
        state->cgroup =
            TRY(Cgroup::create(options.cgroup_directory + "/" + spec.id, spec.resources));
    } else if (wants_limits(spec.resources)) {
        return Error(Code::Unsupported, "limits without a cgroup");
    }
    state->root = std::make_unique<Root>(options.state_directory + "/" + spec.id);
    TRY(state->root->mount(options.root_device, spec.root_read_only));
    ControlPair control = TRY(control_pair());
    const pid_t pid = TRY(fork_into(clone_flags(spec.namespaces), state->cgroup.get()));
    if (pid == 0) {
        control.parent = Fd();
        run_container(spec, state->root->path(), std::move(stdio), control.child.ref());
    }
    control.child = Fd();
    Result<ControlMessage> ready = first_word(control.parent.ref());
    if (!ready) {
        reap(pid);
        return std::move(ready).error();
    }
    state->process =
        std::make_unique<Process>(pid, std::move(control.parent), std::move(ready->fd));
    return std::unique_ptr<Container>(new Container(std::move(state)));
}

Result<Process> Container::exec(const ProcessSpec& spec, Stdio stdio) {
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, state_->process->pid(), 0)));
    if (!pidfd) {
        return Error::from_errno(errno, "open the container's process");
    }
    ControlPair control = TRY(control_pair());
    const pid_t joining = TRY(fork_into(0, state_->cgroup.get()));
    if (joining == 0) {
        control.parent = Fd();
        run_exec(state_->spec.namespaces, spec, pidfd.ref(), std::move(stdio), control.child.ref());
    }
    control.child = Fd();
    std::optional<pid_t> pid;
    std::optional<ControlMessage> ready;
    // Two processes speak here, and either may be the first.
    while (!pid || !ready) {
        Result<ControlMessage> word = first_word(control.parent.ref());
        if (!word) {
            if (!pid) {
                pid = spawned_yet(control.parent.ref());
            }
            reap(joining);
            if (pid) {
                reap(*pid);
            }
            return std::move(word).error();
        }
        if (word->kind == Kind::Spawned) {
            pid = static_cast<pid_t>(word->value);
        } else {
            ready = *std::move(word);
        }
    }
    reap(joining);
    return Process(*pid, std::move(control.parent), std::move(ready->fd));
}

Result<void> Container::signal_all(int signal) {
    if (state_->cgroup) {
        return state_->cgroup->signal_all(signal);
    }
    if (::kill(state_->process->pid(), signal) != 0) {
        return Error::from_errno(errno, "signal the container");
    }
    return {};
}

Result<void> Container::remove() {
    // One that waits for start() ends with its control socket; the caller reaps it.
    state_->process->abandon();
    if (state_->cgroup) {
        TRY(state_->cgroup->remove());
    }
    state_->root->remove();
    return {};
}

}  // namespace pepita::runtime::container
