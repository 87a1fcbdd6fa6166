#include "runtime/container/engine.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/user_namespace.h"
#include "runtime/container.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/cgroup_stats.h"
#include "runtime/container/child.h"
#include "runtime/container/control.h"
#include "runtime/container/conversation.h"
#include "runtime/container/credentials.h"
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

// The process of the container whose namespace is joined, or the namespace; -1: none is.
Result<FdRef> joined(const std::map<std::string, FdRef>& containers, const std::string& id) {
    if (id.empty()) {
        return FdRef(-1);
    }
    const auto found = containers.find(id);
    const bool is_path = id.starts_with('/');
    if (found == containers.end() || (!is_path && has_exited(found->second))) {
        return Error(Code::FailedPrecondition,
                     "container '" + id + "', whose namespace is to be joined, is not running");
    }
    return found->second;
}

// Where it is in another container's pid namespace, its parent is not: an orphan's reaper is that
// of its parent.
Result<Forked> fork_stager(const Cgroup* cgroup, FdRef pid_of) {
    NextChild next;
    if (pid_of.number() >= 0) {
        TRY(next.enter_pid_of(pid_of));
    }
    Result<Forked> stager = fork_into(CLONE_NEWNS, cgroup);
    if (stager && stager->pid == 0) {
        next.forget();
    }
    return stager;
}

// Mounts the root of a container with a user namespace, outside of that. Its parent is gone at
// once, so that it is reaped as any orphan.
Result<Fd> start_stager(const ContainerSpec& spec, RootMounts root, const Cgroup* cgroup,
                        FdRef pid_of) {
    ControlPair control = TRY(control_pair());
    Fd id_mapping;
    if (root.spec.maps_ids) {
        id_mapping =
            TRY(make_user_namespace(spec.namespaces.uid_mappings, spec.namespaces.gid_mappings));
        root.id_mapping = id_mapping.ref();
    }
    const Forked parent = TRY(fork_into(0, nullptr));
    if (parent.pid == 0) {
        const Result<Forked> stager = fork_stager(cgroup, pid_of);
        if (stager && stager->pid == 0) {
            run_stager(spec, root, std::move(control.child));
        }
        if (!stager) {
            (void)send_control(control.child.ref(), failed(stager.error())).has_value();
        }
        ::_exit(0);
    }
    while (::waitpid(parent.pid, nullptr, 0) < 0 && errno == EINTR) {}
    return std::move(control.parent);
}

Result<void> give_streams(const ContainerSpec& spec, const Stdio& stdio) {
    // A user that is looked up inside gets them from the inner root, which must be their owner.
    const bool is_known = !spec.process.user;
    const auto owner = mapped_id(spec.namespaces.uid_mappings, is_known ? spec.process.uid : 0);
    const auto group = is_known ? std::nullopt : mapped_id(spec.namespaces.gid_mappings, 0);
    if (!owner) {
        return Error(Code::InvalidArgument, "user " + std::to_string(spec.process.uid) +
                                                " is not mapped into the user namespace");
    }
    // To open them again by /dev/stdout; what cannot be given away is used as it is.
    for (const Fd* stream : {&stdio.in, &stdio.out, &stdio.err}) {
        if (*stream) {
            (void)::fchown(stream->ref().number(), *owner, group.value_or(static_cast<gid_t>(-1)));
        }
    }
    return {};
}

// What the process of a new user namespace cannot do itself. It sends back what fails.
void settle_user(const ContainerSpec& spec, pid_t pid, FdRef control) {
    Result<void> settled = map_ids(pid, spec.namespaces);
    if (settled) {
        settled = raise_rlimits(spec.process.rlimits, pid);
    }
    if (const auto score = spec.process.oom_score_adj; settled && score) {
        settled =
            write_file("/proc/" + std::to_string(pid) + "/oom_score_adj", std::to_string(*score));
    }
    (void)send_control(control, settled ? ControlMessage{.kind = ControlMessage::Kind::Mapped}
                                        : failed(settled.error()))
        .has_value();
}

Result<Forked> fork_container(const ContainerSpec& spec, const Container::Options& options,
                              const Cgroup* cgroup) {
    NextChild next;
    const FdRef pid_of = TRY(joined(options.joined, spec.namespaces.pid_of));
    if (pid_of.number() >= 0) {
        TRY(next.enter_pid_of(pid_of));
    }
    if (spec.namespaces.time) {
        TRY(next.enter_new_time(spec.namespaces));
    }
    Result<Forked> forked = fork_into(clone_flags(spec.namespaces), cgroup);
    if (forked && forked->pid == 0) {
        next.forget();
    }
    return forked;
}

// Whether devices in its root are none of its own: it has a /dev apart from that, and may not use
// all that there is.
bool has_no_devices(const ContainerSpec& spec) {
    const bool has_dev =
        std::ranges::find(spec.mounts, "/dev", &MountSpec::destination) != spec.mounts.end();
    const std::vector<DeviceRule>& rules = spec.resources.devices;
    const bool has_all = !rules.empty() && rules.back().allow && rules.back().type == 'a';
    return has_dev && !has_all;
}

bool wants_cgroup(const ResourcesSpec& resources) { return resources != ResourcesSpec(); }

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
    if (!spec.namespaces.uts && spec.namespaces.uts_of.empty() &&
        !(spec.hostname.empty() && spec.domainname.empty())) {
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
    if (spec.root.maps_ids && !(spec.namespaces.user && spec.root.disk)) {
        return Error(Code::InvalidArgument,
                     "mapped ids of a root need a disk and a user namespace");
    }
    return check_process(spec.process);
}

// What a container writes to memory is held to half of what all containers may have, as Linux holds
// it to half of a machine's. "" where they have no limit.
std::string half_of_memory(const std::string& cgroup) {
    const std::string text = read_file(cgroup + "/memory.max").value_or("");
    std::uint64_t limit = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
    return error == std::errc() ? std::to_string(limit / 2) : "";
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
    Confinement confinement;
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
    state->confinement = confinement_of(spec);
    state->root = {.spec = spec.root,
                   .device = options.root_device,
                   .scratch_device = options.scratch_device,
                   .staging_directory = options.staging_directory,
                   .staging_size = half_of_memory(options.cgroup_directory),
                   .trees = options.trees,
                   .shared_mounts = options.shared_mounts,
                   .has_no_devices = options.trees == Trees::Directories && has_no_devices(spec),
                   .image_devices = options.image_devices};
    if (!options.cgroup_directory.empty()) {
        state->cgroup =
            TRY(Cgroup::create(options.cgroup_directory + "/" + spec.id, spec.resources));
    }
    ControlPair control = TRY(control_pair());
    // Not in the braces: g++ 12 does not destroy the members before one that returns.
    const FdRef ipc_of = TRY(joined(options.joined, spec.namespaces.ipc_of));
    const FdRef uts_of = TRY(joined(options.joined, spec.namespaces.uts_of));
    Inherited inherited{.stdio = std::move(stdio),
                        .control = std::move(control.child),
                        .ipc_of = ipc_of,
                        .uts_of = uts_of};
    if (spec.namespaces.user) {
        TRY(give_streams(spec, inherited.stdio));
        const FdRef pid_of = TRY(joined(options.joined, spec.namespaces.pid_of));
        inherited.staged = TRY(start_stager(spec, state->root, state->cgroup.get(), pid_of));
    }
    Forked forked = TRY(fork_container(spec, options, state->cgroup.get()));
    if (forked.pid == 0) {
        run_container(spec, state->root, std::move(inherited));
    }
    inherited = {};
    if (spec.namespaces.user) {
        settle_user(spec, forked.pid, control.parent.ref());
    }
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
    NextChild next;
    if ((join_flags(state_->namespaces) & CLONE_NEWPID) != 0) {
        TRY(next.enter_pid_of(own));
    }
    Forked forked = TRY(fork_into(0, state_->cgroup.get()));
    if (forked.pid == 0) {
        next.forget();
        run_exec(state_->namespaces, spec, state_->confinement, own, std::move(stdio),
                 std::move(control.child));
    }
    control.child = Fd();
    return Process::create(state_->loop, forked.pid, std::move(forked.pidfd),
                           std::move(control.parent), spec.args.front(), std::move(on_ready));
}

Result<ContainerStats> Container::stats() const {
    if (!state_->cgroup) {
        return Error(Code::Unsupported, "the container has no cgroup");
    }
    ContainerStats stats = TRY(read_stats(state_->cgroup->directory()));
    if (state_->process && !has_exited(state_->process->pidfd())) {
        read_first_process(state_->process->pid(), stats);
    }
    return stats;
}

void Container::set_frozen(bool frozen, OnDone<void> done) {
    if (!state_->cgroup) {
        return done(Error(Code::Unsupported, "the container has no cgroup"));
    }
    std::optional<Freezer>& freezer = state_->freezer;
    if (!freezer) {
        freezer.emplace(state_->loop, *state_->cgroup);
    }
    freezer->set(frozen, std::move(done));
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
