#include "runtime/container/engine.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/cgroup_stats.h"
#include "runtime/container/child.h"
#include "runtime/container/control.h"
#include "runtime/container/conversation.h"
#include "runtime/container/freezer.h"
#include "runtime/container/namespaces.h"
#include "runtime/container/processes.h"
#include "runtime/container/root.h"

namespace pepita::runtime::container {
namespace {

constexpr std::chrono::seconds kEndDeadline{5};

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

// A child in the pid namespace of the process behind `pidfd`. Only children enter a pid namespace,
// so the caller's own children are made there for a moment. The child must not be dumpable from
// its first moment: root of the container sees it at once, while its root is still the caller's.
Result<Forked> fork_beside(FdRef pidfd, const Cgroup* cgroup) {
    const Fd own = TRY(open_file("/proc/self/ns/pid", O_RDONLY));
    const int dumpable = ::prctl(PR_GET_DUMPABLE);
    if (::setns(pidfd.number(), CLONE_NEWPID) != 0) {
        return Error::from_errno(errno, "join the container's pid namespace");
    }
    (void)::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    Result<Forked> forked = fork_into(0, cgroup);
    if (!forked || forked->pid != 0) {
        (void)::prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
        // To the namespace that the caller is in it may always go back (pid_namespaces(7)).
        CHECK(::setns(own.ref().number(), CLONE_NEWPID) == 0);
    }
    return forked;
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
    TRY(check_root(spec.root));
    return check_process(spec.process);
}

}  // namespace

struct Container::State {
    explicit State(EventLoop& event_loop) : loop(event_loop) {}

    Result<std::unique_ptr<Process>> clean_scratch(OnDone<void> done);
    bool is_empty();
    Result<void> watch_end();
    void on_change();
    void finish(Result<void> removed);

    EventLoop& loop;
    NamespacesSpec namespaces;
    RootMounts root;
    std::unique_ptr<Cgroup> cgroup;
    std::optional<Freezer> freezer;  // of that
    std::vector<DeviceRule> device_rules;
    std::unique_ptr<Process> process;

    // Of remove().
    OnDone<void> on_removed;
    Fd cgroup_events;
    EventLoop::Watch end;
    EventLoop::Timer deadline;
    std::unique_ptr<Process> cleaner;
    bool is_removed = false;
};

Container::Container(std::unique_ptr<State> state) : state_(std::move(state)) {}

Container::~Container() {
    if (!state_->is_removed) {
        (void)signal_all(SIGKILL).has_value();
    }
}

Process& Container::process() { return *state_->process; }

Result<std::unique_ptr<Container>> Container::create(EventLoop& loop, const ContainerSpec& spec,
                                                     const Options& options, Stdio stdio,
                                                     OnDone<void> on_ready) {
    TRY(check(spec, options));
    auto state = std::make_unique<State>(loop);
    state->namespaces = spec.namespaces;
    state->root = {.spec = spec.root,
                   .device = options.root_device,
                   .scratch_device = options.scratch_device,
                   .staging_directory = options.staging_directory,
                   .trees = options.trees};
    if (!options.cgroup_directory.empty()) {
        state->cgroup =
            TRY(Cgroup::create(options.cgroup_directory + "/" + spec.id, spec.resources));
    }
    ControlPair control = TRY(control_pair());
    Forked forked = TRY(fork_into(clone_flags(spec.namespaces), state->cgroup.get()));
    if (forked.pid == 0) {
        run_container(spec, state->root, std::move(stdio), std::move(control.child));
    }
    control.child = Fd();
    state->device_rules = spec.resources.devices;
    state->process = TRY(Process::create(
        loop, forked.pid, std::move(forked.pidfd), std::move(control.parent),
        spec.process.args.front(),
        [self = state.get(), on_ready = std::move(on_ready)](Result<void> ready) mutable {
            if (ready && self->cgroup) {
                ready = self->cgroup->apply_device_rules(self->device_rules);
            }
            on_ready(std::move(ready));  // which may destroy the container
        }));
    return std::unique_ptr<Container>(new Container(std::move(state)));
}

Result<std::unique_ptr<Process>> Container::exec(const ProcessSpec& spec, Stdio stdio,
                                                 OnDone<void> on_ready) {
    TRY(check_process(spec));
    const FdRef own = state_->process->pidfd();
    if (!state_->process->is_ready() || has_exited(own)) {
        return Error(Code::FailedPrecondition, "the container's process is not running");
    }
    ControlPair control = TRY(control_pair());
    Forked forked = TRY(state_->namespaces.pid ? fork_beside(own, state_->cgroup.get())
                                               : fork_into(0, state_->cgroup.get()));
    if (forked.pid == 0) {
        run_exec(state_->namespaces, spec, own, std::move(stdio), std::move(control.child));
    }
    control.child = Fd();
    return Process::create(state_->loop, forked.pid, std::move(forked.pidfd),
                           std::move(control.parent), spec.args.front(), std::move(on_ready));
}

Result<ContainerStats> Container::stats() const {
    if (!state_->cgroup) {
        return Error(Code::Unsupported, "the container has no cgroup");
    }
    return read_stats(state_->cgroup->directory());
}

void Container::set_frozen(bool frozen, OnDone<void> done) {
    if (!state_->cgroup) {
        return done(Error(Code::Unsupported, "the container has no cgroup"));
    }
    if (!state_->freezer) {
        state_->freezer.emplace(state_->loop, *state_->cgroup);
    }
    state_->freezer->set(frozen, std::move(done));
}

Result<void> Container::update(const ResourcesSpec& resources) {
    if (!state_->cgroup) {
        return Error(Code::Unsupported, "the container has no cgroup");
    }
    return state_->cgroup->update(resources);
}

Result<void> Container::signal_all(int signal) {
    if (state_->cgroup) {
        return state_->cgroup->signal_all(signal);
    }
    return signal_pid_namespace(state_->process->pidfd(), state_->process->pid(), signal);
}

void Container::remove(OnDone<void> done) {
    if (state_->is_removed) {
        return done({});
    }
    if (state_->on_removed) {
        return done(Error(Code::FailedPrecondition, "it is being removed"));
    }
    // One that is not started ends with its control socket; the caller reaps it.
    state_->process->abandon();
    Result<void> killed = signal_all(SIGKILL);
    if (killed) {
        killed = state_->watch_end();
    }
    if (!killed) {
        return done(std::move(killed).error());
    }
    state_->on_removed = std::move(done);
    state_->deadline = state_->loop.after(kEndDeadline, [state = state_.get()] {
        state->finish(Error(Code::DeadlineExceeded, "a process of the container does not end"));
    });
    state_->on_change();
}

Result<void> Container::State::watch_end() {
    const auto changed = [this](std::uint32_t) { on_change(); };
    if (cgroup) {
        // kernfs notifies of changes since the last read of this very descriptor.
        cgroup_events = TRY(cgroup->open_events());
        end = TRY(loop.watch(cgroup_events.ref(), EPOLLPRI, changed));
    } else {
        end = TRY(loop.watch(process->pidfd(), EPOLLIN, changed));
    }
    return {};
}

bool Container::State::is_empty() {
    return cgroup ? Cgroup::is_empty(cgroup_events.ref()) : has_exited(process->pidfd());
}

void Container::State::on_change() {
    if (!is_empty()) {
        return;
    }
    end.cancel();
    deadline.cancel();
    if (!process->has_claimed()) {
        return finish({});
    }
    auto cleaning = clean_scratch([this](Result<void> cleaned) { finish(std::move(cleaned)); });
    if (!cleaning) {
        return finish(std::move(cleaning).error());
    }
    cleaner = *std::move(cleaning);
}

Result<std::unique_ptr<Process>> Container::State::clean_scratch(OnDone<void> done) {
    ControlPair control = TRY(control_pair());
    Forked forked = TRY(fork_into(CLONE_NEWNS, nullptr));
    if (forked.pid == 0) {
        run_cleaner(root, std::move(control.child));
    }
    control.child = Fd();
    return Process::create(loop, forked.pid, std::move(forked.pidfd), std::move(control.parent), "",
                           std::move(done));
}

void Container::State::finish(Result<void> removed) {
    end.cancel();
    deadline.cancel();
    if (removed && cgroup) {
        removed = cgroup->remove();
    }
    is_removed = removed.has_value();
    OnDone<void> done = std::exchange(on_removed, nullptr);
    done(std::move(removed));  // which may destroy the container
}

}  // namespace pepita::runtime::container
