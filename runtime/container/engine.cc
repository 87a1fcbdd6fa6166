#include "runtime/container/engine.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
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

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/cgroup_stats.h"
#include "runtime/container/child.h"
#include "runtime/container/control.h"
#include "runtime/container/namespaces.h"
#include "runtime/container/processes.h"
#include "runtime/container/root.h"

namespace pepita::runtime::container {
namespace {

using Kind = ControlMessage::Kind;

struct Forked {
    pid_t pid = 0;  // 0 in the child
    Fd pidfd;
};

Result<Forked> fork_into(std::uint64_t flags, const Cgroup* cgroup) {
    int pidfd = -1;
    clone_args arguments{};
    arguments.flags = flags | CLONE_PIDFD;
    // SAFETY: clone3(2) takes addresses as numbers.
    arguments.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
    arguments.exit_signal = SIGCHLD;
    if (cgroup != nullptr) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = static_cast<unsigned>(cgroup->fd().number());
    }
    const long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid < 0) {
        return Error::from_errno(errno, "clone3");
    }
    return Forked{.pid = static_cast<pid_t>(pid), .pidfd = pid > 0 ? Fd(pidfd) : Fd()};
}

// Both for a child that nobody else knows of yet, so its pid is still its own.
void reap(pid_t pid) {
    while (::waitpid(pid, nullptr, 0) == -1 && errno == EINTR) {}
}
void end(pid_t pid) {
    (void)::kill(pid, SIGKILL);
    reap(pid);
}

// The child's next word, which has to be `expected`, or what kept it from saying that.
Result<ControlMessage> next_word(FdRef control, Kind expected) {
    ControlMessage message = TRY(receive_control(control, kControlDeadline));
    if (message.kind == Kind::Closed) {
        return Error(Code::Internal, "the process ended before it was ready");
    }
    if (message.kind == Kind::Failed) {
        return error_of(message);
    }
    if (message.kind != expected) {
        return Error(Code::Internal, "the process said what nobody expected");
    }
    return message;
}

bool wants_cgroup(const ResourcesSpec& resources) {
    return resources.memory_limit_bytes || resources.pids_limit || resources.cpu_shares ||
           resources.cpu_quota_us || resources.cpu_period_us || !resources.devices.empty();
}

Result<void> check_process(const ProcessSpec& process) {
    if (process.args.empty()) {
        return Error(Code::InvalidArgument, "a process needs a program to run");
    }
    if (!process.cwd.starts_with('/')) {
        return Error(Code::InvalidArgument,
                     "working directory '" + process.cwd + "' is not an absolute path");
    }
    return {};
}

Result<void> check(const ContainerSpec& spec, const Container::Options& options) {
    if (spec.id.empty() || spec.id == "." || spec.id == ".." || spec.id.contains('/')) {
        return Error(Code::InvalidArgument, "'" + spec.id + "' is no container id");
    }
    if (!spec.namespaces.mount) {
        return Error(Code::Unsupported, "a container without a mount namespace");
    }
    if (!spec.namespaces.uts && !(spec.hostname.empty() && spec.domainname.empty())) {
        return Error(Code::InvalidArgument, "a hostname without a uts namespace");
    }
    if (options.cgroup_directory.empty() && wants_cgroup(spec.resources)) {
        return Error(Code::Unsupported, "limits or device rules without a cgroup");
    }
    // How else would its processes be found, and ended?
    if (options.cgroup_directory.empty() && !spec.namespaces.pid) {
        return Error(Code::Unsupported, "neither a pid namespace nor a cgroup");
    }
    return check_process(spec.process);
}

}  // namespace

Process::Process(pid_t pid, Fd control, std::optional<Fd> terminal)
    : pid_(pid), control_(std::move(control)), terminal_(std::move(terminal)) {}

Result<std::uint32_t> Process::start() {
    if (!control_) {
        return Error(Code::FailedPrecondition, "it was started before");
    }
    const Fd control = std::move(control_);
    if (!send_control(control.ref(), {.kind = Kind::Start})) {
        return Error(Code::FailedPrecondition, "it is over");
    }
    Result<ControlMessage> word = receive_control(control.ref(), kControlDeadline);
    if (!word) {
        (void)::kill(pid_, SIGKILL);  // the caller has not reaped it: it has not seen it end
        return std::move(word).error();
    }
    if (word->kind == Kind::Closed) {
        return 0U;  // by execve(2)
    }
    if (word->kind == Kind::ExecFailed) {
        return word->value;
    }
    return error_of(*word);
}

struct Container::State {
    NamespacesSpec namespaces;
    std::unique_ptr<Cgroup> cgroup;
    std::unique_ptr<Root> root;
    Fd pidfd;  // of the container's own process: a pid is another's once it is reaped
    std::unique_ptr<Process> process;
    bool is_removed = false;
};

Container::Container(std::unique_ptr<State> state) : state_(std::move(state)) {}

Container::~Container() { (void)remove().has_value(); }

Process& Container::process() { return *state_->process; }

Result<std::unique_ptr<Container>> Container::create(const ContainerSpec& spec,
                                                     const Options& options, Stdio stdio) {
    TRY(check(spec, options));
    auto state = std::make_unique<State>();
    state->namespaces = spec.namespaces;
    if (!options.cgroup_directory.empty()) {
        state->cgroup =
            TRY(Cgroup::create(options.cgroup_directory + "/" + spec.id, spec.resources));
    }
    state->root = TRY(Root::create({.device = options.root_device,
                                    .scratch_device = options.scratch_device,
                                    .directory = options.state_directory + "/" + spec.id,
                                    .is_read_only = spec.root_read_only}));
    ControlPair control = TRY(control_pair());
    Forked forked = TRY(fork_into(clone_flags(spec.namespaces), state->cgroup.get()));
    if (forked.pid == 0) {
        run_container(spec, state->root->path(), std::move(stdio), std::move(control.child));
    }
    control.child = Fd();
    Result<ControlMessage> ready = next_word(control.parent.ref(), Kind::Ready);
    if (!ready) {
        end(forked.pid);
        return std::move(ready).error();
    }
    state->pidfd = std::move(forked.pidfd);
    state->process =
        std::make_unique<Process>(forked.pid, std::move(control.parent), std::move(ready->fd));
    return std::unique_ptr<Container>(new Container(std::move(state)));
}

Result<Process> Container::exec(const ProcessSpec& spec, Stdio stdio) {
    TRY(check_process(spec));
    if (is_over(state_->pidfd.ref())) {
        return Error(Code::FailedPrecondition, "the container's process is over");
    }
    ControlPair control = TRY(control_pair());
    // One that joins the namespaces, and its child in them, which clone3(2) makes our own.
    const Forked joining = TRY(fork_into(0, state_->cgroup.get()));
    if (joining.pid == 0) {
        run_exec(state_->namespaces, spec, state_->pidfd.ref(), std::move(stdio),
                 std::move(control.child));
    }
    control.child = Fd();
    Result<ControlMessage> joined = next_word(control.parent.ref(), Kind::Joined);
    if (!joined) {
        end(joining.pid);
        return std::move(joined).error();
    }
    reap(joining.pid);
    const pid_t pid = joined->sender;
    Result<ControlMessage> ready = next_word(control.parent.ref(), Kind::Ready);
    if (!ready) {
        end(pid);
        return std::move(ready).error();
    }
    return Process(pid, std::move(control.parent), std::move(ready->fd));
}

Result<ContainerStats> Container::stats() const {
    if (!state_->cgroup) {
        return Error(Code::Unsupported, "the container has no cgroup");
    }
    return read_stats(state_->cgroup->directory());
}

Result<void> Container::signal_all(int signal) {
    if (state_->cgroup) {
        return state_->cgroup->signal_all(signal);
    }
    return signal_pid_namespace(state_->pidfd.ref(), state_->process->pid(), signal);
}

Result<void> Container::remove() {
    if (std::exchange(state_->is_removed, true)) {
        return {};
    }
    // One that waits for start() ends with its control socket; the caller reaps it.
    state_->process->abandon();
    Result<void> ended =
        state_->cgroup ? state_->cgroup->remove() : kill_and_wait(state_->pidfd.ref());
    if (!ended) {
        state_->is_removed = false;  // once more, later
        return ended;
    }
    return state_->root->remove();
}

}  // namespace pepita::runtime::container
