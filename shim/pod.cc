#include "shim/pod.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_cgroup.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/log_json.h"
#include "runtime/rpc/on_result.h"
#include "runtime/state.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/clock.h"
#include "shim/container.h"
#include "shim/guest_clock.h"
#include "shim/isolation.h"
#include "shim/jail.h"
#include "shim/microvm.h"
#include "shim/pod_directory.h"
#include "shim/pod_size.h"
#include "shim/root_mounts.h"

namespace pepita::shim {
namespace {

using runtime::OnResult;
using runtime::ProcessId;
using runtime::TaskStatus;

runtime::ContainerStatus to_container_status(TaskStatus status) {
    switch (status) {
        case TaskStatus::Unknown:
            return runtime::ContainerStatus::Creating;
        case TaskStatus::Created:
            return runtime::ContainerStatus::Created;
        case TaskStatus::Running:
            return runtime::ContainerStatus::Running;
        case TaskStatus::Stopped:
            return runtime::ContainerStatus::Stopped;
        case TaskStatus::Paused:
            return runtime::ContainerStatus::Paused;
    }
    std::unreachable();
}

void log_failure(const Result<void>& result) {
    if (!result) {
        log::warn("a signal is lost", {{"error", result.error().message()}});
    }
}

RootSource root_of(const runtime::Bundle& bundle, const runtime::PodSpec& spec,
                   std::optional<runtime::ImageRoot> image) {
    const bool is_image = image.has_value();
    std::vector<runtime::ImageRoot> volumes;
    for (const runtime::MountSpec& mount : bundle.container.mounts) {
        if (const auto volume = image_of(mount); volume && image) {
            volumes.push_back({.store = image->store, .id = volume->id});
        }
    }
    std::ranges::sort(volumes);
    volumes.erase(std::ranges::unique(volumes).begin(), volumes.end());
    RootSource root{.path = bundle.root_path,
                    .is_packed = spec.packs_roots && !is_image,
                    .image = std::move(image),
                    .volumes = std::move(volumes),
                    .scratch = {},
                    .container = bundle.container.id,
                    .shared = shared_paths(bundle, spec.packs_roots || is_image)};
    if (root.is_disk() && !bundle.container.root_read_only && spec.scratch_mib != 0) {
        root.scratch = Bytes(spec.scratch_mib << 20U);
    }
    return root;
}

bool has_images(const runtime::Bundle& bundle) {
    return std::ranges::any_of(bundle.container.mounts,
                               [](const auto& mount) { return image_of(mount).has_value(); });
}

}  // namespace

Pod::Pod(EventLoop& loop, Clock& clock, StartMicrovm start_microvm, Callbacks callbacks)
    : loop_(loop),
      clock_(clock),
      start_microvm_(std::move(start_microvm)),
      callbacks_(std::move(callbacks)) {}

Pod::~Pod() {
    microvm_.reset();  // first: its guest's open calls are answered with an error
}

Result<void> Pod::begin_pod(runtime::PodSpec spec) {
    TRY(check(spec));
    spec_ = std::move(spec);
    own_size_ = first_size(spec_);
    phase_ = Phase::Booting;
    callbacks_.on_begin(spec_);
    isolation_ = choose_isolation(spec_.isolation);
    network_ = spec_.network_namespace;
    return enter_cgroup();
}

Result<void> Pod::make_directory(std::optional<runtime::ContainerState> state) {
    TRY(pepita::make_directory("/run/pepita", 0755));
    user_ = TRY(hold_jail_user(kJailUsers, std::random_device()()));
    directory_ = TRY(PodDirectory::create({.root = spec_.root,
                                           .name = spec_.name,
                                           .state = std::move(state),
                                           .machine = user_.user}));
    listener_ = TRY(listen(*directory_));
    return {};
}

Result<void> Pod::boot(std::optional<RootSource> root) {
    microvm_ =
        TRY(start_microvm_(loop_,
                           {.spec = spec_,
                            .directory = *directory_,
                            .isolation = isolation_.isolation,
                            .network = network_,
                            .root = std::move(root)},
                           {.on_boot = [this] { on_boot(); },
                            .on_up = [this] { on_up(); },
                            .on_down = [this](const std::string& reason) { on_down(reason); }}));
    return {};
}

Result<std::unique_ptr<Listener>> Pod::listen(PodDirectory& directory) {
    return Listener::create(loop_, directory.take_listener(),
                            [this](Fd client) { callbacks_.on_client(std::move(client)); });
}

void Pod::begin(runtime::PodSpec spec, OnResult<void> done) {
    if (phase_ != Phase::Empty) {
        return done(Error(Code::AlreadyExists, "this shim has a pod already"));
    }
    const auto begin_all = [&]() -> Result<void> {
        TRY(begin_pod(std::move(spec)));
        TRY(make_directory(std::nullopt));
        return boot(std::nullopt);
    };
    if (Result<void> begun = begin_all(); !begun) {
        is_ending_ = true;
        finish_end();
        return done(std::move(begun));
    }
    on_begun_ = std::move(done);
}

void Pod::create(runtime::TaskCreate request, OnResult<std::uint32_t> done) {
    if (phase_ != Phase::Empty && phase_ != Phase::Booting && phase_ != Phase::Live) {
        return done(Error(Code::FailedPrecondition, "the pod has ended"));
    }
    if (entries_.contains(request.id)) {
        return done(Error(Code::AlreadyExists, "container '" + request.id + "' already exists"));
    }
    const bool begins_pod = phase_ == Phase::Empty;
    const std::string id = request.id;
    if (Result<void> begun = begin_create(std::move(request)); !begun) {
        entries_.erase(id);
        if (begins_pod) {
            is_ending_ = true;
            finish_end();
        }
        return done(std::move(begun).error());
    }
    entries_.at(id).on_created = std::move(done);
    if (phase_ == Phase::Live) {
        admit(id);
    }
}

Result<runtime::Bundle> Pod::complete(runtime::TaskCreate& request) {
    TRY(runtime::check_container_id(request.id));
    runtime::Bundle bundle = TRY(runtime::load_bundle(request.bundle));
    set_container_id(bundle, request.id);
    if (callbacks_.on_create) {
        TRY(callbacks_.on_create(request, bundle));
    }
    return bundle;
}

Result<void> Pod::begin_create(runtime::TaskCreate request) {
    const bool begins_pod = phase_ == Phase::Empty;
    runtime::Bundle bundle = TRY(complete(request));
    if (begins_pod && !request.pod) {
        return Error(Code::FailedPrecondition, "there is no pod, and the request describes none");
    }
    if (begins_pod) {
        TRY(begin_pod(*std::move(request.pod)));
    }
    if (begins_pod && network_.empty()) {
        network_ = bundle.network_namespace;
        if (network_.empty() && bundle.container.namespaces.network && request.io.proxy_pid != 0) {
            // Whoever prepares the network finds its stand-in's (hooks of dockerd). It is the
            // pod's.
            network_ = "/proc/" + std::to_string(request.io.proxy_pid) + "/ns/net";
            bundle.container.namespaces.network = false;
        }
    }
    bool& has_new_network = bundle.container.namespaces.network;
    if (begins_pod && is_on_host() && has_new_network && request.io.proxy_pid != 0) {
        // Whoever prepares the network has found that of the stand-in.
        network_ = "/proc/" + std::to_string(request.io.proxy_pid) + "/ns/net";
        has_new_network = false;
    }
    TRY(check_mounts(bundle));
    TRY(find_joined(bundle));
    // Only an image's ids are known to be those of its containers.
    bundle.container.root.maps_ids = request.image && bundle.container.namespaces.user;
    if ((begins_pod || !request.image) && has_images(bundle)) {
        return Error(Code::Unsupported,
                     "mounts: an image needs a container of an image, in a pod that is there");
    }
    Entry& entry = entries_[request.id];
    entry.cgroups = std::move(request.cgroups);
    runtime::ContainerState state = describe(bundle, entry.cgroups);
    state.pid = request.io.proxy_pid;
    const bool is_pods = request.id == spec_.name;
    if (begins_pod) {
        TRY(make_directory(is_pods ? std::optional(state) : std::nullopt));
    }
    if (!is_pods) {
        entry.own_directory = TRY(PodDirectory::create(
            {.root = spec_.root, .name = request.id, .state = state, .machine = {}}));
        entry.listener = TRY(listen(*entry.own_directory));
    }
    entry.container = TRY(Container::create(
        loop_, std::move(bundle), std::move(request.io),
        {.on_change = [this, id = request.id] { on_change(id); },
         .on_signal = [this](const ProcessId& id,
                             std::uint32_t signal) { kill(id, signal, false, log_failure); },
         .on_event = [this](const runtime::TaskEvent& event) { callbacks_.on_event(event); }}));
    if (!entry.container->is_pod()) {
        entry.mounts = TRY(RootMounts::mount(request.mounts, entry.container->bundle().root_path));
        entry.root = root_of(entry.container->bundle(), spec_, std::move(request.image));
    }
    if (begins_pod) {
        make_room(spec_, entry.container->bundle().container.resources);
        // A machine has the disks of its first container from the start.
        const bool has_root = entry.root && !is_on_host();
        booted_with_ = has_root ? request.id : "";
        TRY(boot(has_root ? entry.root : std::nullopt));
    }
    return {};
}

void Pod::on_boot() {
    if (phase_ != Phase::Booting) {
        return;
    }
    if (callbacks_.on_boot) {
        if (const Result<void> done = callbacks_.on_boot(isolation_.isolation); !done) {
            return microvm_->kill("confine the shim: " + done.error().message());
        }
    }
    deadline_ = clock_.after(spec_.boot_deadline, [this] {
        microvm_->kill("the guest did not answer within " +
                       std::to_string(spec_.boot_deadline.count()) + " s");
    });
}

void Pod::on_up() {
    if (phase_ != Phase::Booting) {
        return;  // it is being ended
    }
    if (!is_on_host()) {
        keep_clock();
    }
    fit_size([this](const Result<void>&) { go_live(); });
}

void Pod::go_live() {
    if (phase_ != Phase::Booting) {
        return;  // it is being ended
    }
    deadline_.reset();
    phase_ = Phase::Live;
    if (OnResult<void> done = std::exchange(on_begun_, nullptr)) {
        done({});
    }
    std::vector<std::string> waiting;
    waiting.reserve(entries_.size());
    for (const auto& [id, entry] : entries_) {
        waiting.push_back(id);
    }
    for (const std::string& id : waiting) {
        admit(id);
    }
}

void Pod::admit(const std::string& id) {
    Entry& entry = entries_.at(id);
    if (!entry.root) {
        entry.container->enter_as_pod(*microvm_);
        return end_create(id, {});
    }
    if (id == booted_with_) {
        entry.disks = first_root_disks(*entry.root);
        return enter(id, *entry.disks);
    }
    microvm_->add_root(*entry.root, [this, id](Result<RootDisks> disks) {
        if (!disks) {
            return end_create(id, std::move(disks).error());
        }
        if (const auto found = entries_.find(id); found != entries_.end()) {
            found->second.disks = *disks;
        }
        enter(id, *disks);
    });
}

void Pod::enter(const std::string& id, const RootDisks& disks) {
    const auto found = entries_.find(id);
    if (found == entries_.end() || phase_ != Phase::Live) {
        return;  // its creation was ended, and answered
    }
    fit_size([this, id, disks](const Result<void>&) {
        const auto entry = entries_.find(id);
        if (entry == entries_.end() || phase_ != Phase::Live) {
            return;
        }
        if (entry->second.failure) {
            return end_create(id, {});
        }
        entry->second.container->enter(*microvm_, disks, [this, id](Result<void> entered) {
            end_create(id, std::move(entered));
        });
    });
}

void Pod::end_create(const std::string& id, Result<void> created) {
    const auto found = entries_.find(id);
    if (found == entries_.end() || phase_ != Phase::Live) {
        return;  // it ends with the pod
    }
    Entry& entry = found->second;
    if (created && !entry.failure) {
        write_state(id);
        entry.container->tell(runtime::TaskEvent::Kind::Create, "");
        const std::uint32_t pid = entry.container->proxy_pid();
        if (OnResult<std::uint32_t> done = std::exchange(entry.on_created, nullptr)) {
            done(pid);
        }
        return;
    }
    if (!entry.failure) {
        entry.failure = std::move(created).error();
    }
    if (is_last(entry)) {
        return end_pod();
    }
    withdraw(id);
}

// What of it is in flight comes back to end_create(), which undoes the rest.
void Pod::cancel_create(Entry& entry, Error reason) {
    if (!entry.failure) {
        entry.failure = std::move(reason);
    }
    if (is_last(entry)) {
        return end_pod();
    }
    if (phase_ == Phase::Booting) {
        forget(std::string(entry.container->id()));
    }
}

bool Pod::is_last(const Entry& entry) const {
    if (spec_.end != runtime::PodEnd::WithLastContainer) {
        return false;
    }
    return std::ranges::all_of(entries_, [&entry](const auto& other) {
        return &other.second == &entry || other.second.failure || other.second.on_removed;
    });
}

// What fails here is left to the end of the pod: the container is gone for its clients.
void Pod::withdraw(const std::string& id) {
    entries_.at(id).container->leave([this, id](const Result<void>& left) {
        if (!left && left.error().code() != Code::NotFound) {
            log::warn("the guest has not deleted a container",
                      {{"container", id}, {"error", left.error().message()}});
        }
        detach_disks(id);
    });
}

void Pod::detach_disks(const std::string& id) {
    const auto found = entries_.find(id);
    const auto disks = found == entries_.end() ? std::nullopt : found->second.disks;
    if (!disks || phase_ != Phase::Live) {
        return forget(id);
    }
    microvm_->remove_root(*disks, [this, id](const Result<void>& detached) {
        if (!detached) {
            log::warn("a disk stays attached",
                      {{"container", id}, {"error", detached.error().message()}});
        }
        forget(id);
    });
}

void Pod::forget(const std::string& id) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) {
        return;  // it ended with the pod meanwhile
    }
    if (id == booted_with_) {
        booted_with_.clear();  // another container may have the name before the guest is up
    }
    Entry entry = std::move(found->second);
    entries_.erase(found);
    const runtime::TaskExit exit = entry.container->exit();
    if (entry.on_removed) {
        entry.container->tell(runtime::TaskEvent::Kind::Delete, "");
    }
    if (!entry.own_directory) {
        directory_->remove_state();
    }
    entry.listener.reset();
    entry.own_directory.reset();
    entry.mounts.reset();
    discard(std::move(entry.container));
    answer_gone(std::move(entry), exit);
}

// Not at once: what has it deleted may be a call of its own.
void Pod::discard(std::shared_ptr<Container> container) {
    loop_.post([gone = std::move(container)] {});
}

void Pod::answer_gone(Entry entry, const runtime::TaskExit& exit) {
    if (entry.on_created) {
        entry.on_created(entry.failure ? *std::move(entry.failure)
                                       : Error(Code::Aborted, "the pod has ended"));
    }
    for (OnResult<void>& done : entry.on_undone) {
        done({});
    }
    if (entry.on_removed) {
        entry.on_removed(exit);
    }
}

std::int64_t Pod::now_ns() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

void Pod::on_down(const std::string& reason) {
    log::info("the microVM ended", {{"reason", reason}});
    exited_at_ns_ = now_ns();
    deadline_.reset();
    guest_clock_.reset();
    // Not in the microVM's own call.
    loop_.post([gone = std::shared_ptr<Microvm>(std::move(microvm_)),
                cgroup = std::shared_ptr<runtime::PodCgroup>(std::move(cgroup_))]() mutable {
        gone.reset();  // its processes are in the cgroup
        cgroup.reset();
    });
    std::vector<std::string> leaving;
    for (auto& [id, entry] : entries_) {
        entry.container->lose(reason);
        if (entry.on_created && !entry.failure) {
            entry.failure = Error(Code::Aborted, reason);
        }
        if (entry.failure || entry.on_removed) {
            leaving.push_back(id);
        }
    }
    if (OnResult<void> done = std::exchange(on_begun_, nullptr)) {
        is_ending_ = true;
        phase_ = Phase::Ending;
        on_ended_.push_back([done = std::move(done), reason](const Result<void>&) mutable {
            done(Error(Code::Aborted, reason));
        });
    }
    const bool has_rest = leaving.size() < entries_.size();
    if (phase_ == Phase::Ending || !has_rest) {
        return finish_end();
    }
    phase_ = Phase::Down;
    answer_sandbox_waiters();
    for (const std::string& id : leaving) {
        forget(id);
    }
    for (const auto& [id, entry] : entries_) {
        write_state(id);
    }
}

void Pod::on_change(const std::string& id) {
    write_state(id);
    const auto found = entries_.find(id);
    if (found != entries_.end() && phase_ == Phase::Live && found->second.container->is_pod() &&
        found->second.container->status() == TaskStatus::Stopped) {
        phase_ = Phase::Stopping;
        shut_down(kPowerOffDeadline);
    }
}

void Pod::end_pod() {
    if (phase_ == Phase::Ending) {
        return;
    }
    phase_ = Phase::Ending;
    if (!microvm_) {
        return finish_end();
    }
    shut_down(kPowerOffDeadline);
}

void Pod::shut_down(std::chrono::milliseconds patience) {
    was_stopped_ = true;
    deadline_ = clock_.after(patience, [this] { microvm_->kill("the guest did not power off"); });
    microvm_->shut_down();
}

void Pod::finish_end() {
    phase_ = Phase::Ended;
    deadline_.reset();
    microvm_.reset();
    cgroup_.reset();
    std::map<std::string, Entry> entries = std::exchange(entries_, {});
    std::map<std::string, runtime::TaskExit> exits;
    for (auto& [id, entry] : entries) {
        is_ending_ = is_ending_ || entry.failure.has_value();
        if (entry.container) {
            exits[id] = entry.container->exit();
            if (entry.on_removed) {
                entry.container->tell(runtime::TaskEvent::Kind::Delete, "");
            }
        }
        discard(std::move(entry.container));
        entry.listener.reset();
        entry.own_directory.reset();
        entry.mounts.reset();
    }
    listener_.reset();
    directory_.reset();
    // Nothing is left; now all learn of it.
    for (auto& [id, entry] : entries) {
        answer_gone(std::move(entry), exits[id]);
    }
    for (OnResult<void>& done : std::exchange(on_ended_, {})) {
        done({});
    }
    answer_sandbox_waiters();
    loop_.post([this] { callbacks_.on_over(); });
}

Result<Pod::Entry*> Pod::find(const std::string& id) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) {
        return Error(Code::NotFound, "container '" + id + "' does not exist");
    }
    return &found->second;
}

void Pod::start(ProcessId id, OnResult<runtime::TaskStarted> done) {
    Result<Entry*> entry = find(id.container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->start(id.exec, std::move(done));
}

void Pod::exec(runtime::TaskExec request, OnResult<void> done) {
    Result<Entry*> entry = find(request.id.container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->exec(std::move(request), std::move(done));
}

void Pod::state(ProcessId id, OnResult<runtime::TaskState> done) {
    Result<Entry*> entry = find(id.container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    done((*entry)->container->state(id.exec));
}

void Pod::kill(ProcessId id, std::uint32_t signal, bool all, OnResult<void> done) {
    Result<Entry*> found = find(id.container);
    if (!found) {
        return done(std::move(found).error());
    }
    Entry& entry = **found;
    if (entry.on_created && signal == SIGKILL && id.exec.empty()) {
        entry.on_undone.push_back(std::move(done));
        return cancel_create(entry, Error(Code::Aborted, "killed while it was being created"));
    }
    entry.container->kill(id.exec, signal, all, std::move(done));
}

void Pod::wait(ProcessId id, OnResult<runtime::TaskExit> done) {
    Result<Entry*> entry = find(id.container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->wait(id.exec, std::move(done));
}

void Pod::resize(ProcessId id, runtime::WindowSize size, OnResult<void> done) {
    Result<Entry*> entry = find(id.container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->resize(id.exec, size, std::move(done));
}

void Pod::close_stdin(ProcessId id, OnResult<void> done) {
    Result<Entry*> entry = find(id.container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->close_stdin(id.exec, std::move(done));
}

void Pod::remove(ProcessId id, OnResult<runtime::TaskExit> done) {
    Result<Entry*> found = find(id.container);
    if (!found) {
        return done(std::move(found).error());
    }
    Entry& entry = **found;
    if (!id.exec.empty()) {
        return entry.container->remove_exec(id.exec, std::move(done));
    }
    if (entry.container->is_creating()) {
        return done(Error(Code::FailedPrecondition, "container is being created"));
    }
    const TaskStatus status = entry.container->status();
    if (status == TaskStatus::Running || status == TaskStatus::Paused) {
        return done(Error(Code::FailedPrecondition, "container is running; kill it first"));
    }
    if (phase_ == Phase::Ending || entry.on_removed) {
        return done(Error(Code::FailedPrecondition, "container is being deleted"));
    }
    entry.on_removed = std::move(done);
    if (is_last(entry)) {
        return end_pod();
    }
    withdraw(id.container);
}

void Pod::pids(std::string container, OnResult<std::vector<runtime::TaskProcess>> done) {
    Result<Entry*> entry = find(container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    done((*entry)->container->pids());
}

void Pod::pause(std::string container, OnResult<void> done) {
    Result<Entry*> entry = find(container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->pause(std::move(done));
}

void Pod::resume(std::string container, OnResult<void> done) {
    Result<Entry*> entry = find(container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->resume(std::move(done));
}

void Pod::stats(std::string container, OnResult<runtime::ContainerStats> done) {
    Result<Entry*> entry = find(container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->stats(std::move(done));
}

void Pod::connect(std::string container, OnResult<runtime::TaskConnection> done) {
    Result<Entry*> entry = find(container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    done(runtime::TaskConnection{.shim_pid = static_cast<std::uint32_t>(::getpid()),
                                 .pid = (*entry)->container->proxy_pid()});
}

void Pod::shutdown(bool now, OnResult<bool> done) {
    is_ending_ = is_ending_ || now || is_over();
    if (now && !is_over()) {
        for (auto& [id, entry] : entries_) {
            if (entry.on_created && !entry.failure) {
                entry.failure = Error(Code::Aborted, "the pod was stopped");
            }
        }
        on_ended_.push_back([done = std::move(done)](const Result<void>&) mutable { done(false); });
        return end_pod();
    }
    done(!is_over());
    loop_.post([this] { callbacks_.on_over(); });
}

/// The state of a container as far as its pod knows it.
runtime::ContainerState Pod::describe(const runtime::Bundle& bundle,
                                      const std::vector<std::string>& cgroups) const {
    runtime::ContainerState state;
    state.oci_version = bundle.oci_version;
    state.id = bundle.container.id;
    state.bundle = bundle.directory;
    state.annotations = bundle.annotations;
    state.created = runtime::timestamp_now();
    state.isolation = to_string(isolation_.isolation);
    state.isolation_reason = isolation_.reason;
    state.pod = spec_.name;
    state.cgroups = cgroups;
    // A process that has exited needs no identification, and nobody may look for its pid.
    state.shim = runtime::identify_process(static_cast<std::uint32_t>(::getpid()))
                     .value_or(runtime::HostProcess());
    if (microvm_) {
        state.vmm = runtime::identify_process(static_cast<std::uint32_t>(microvm_->pid()))
                        .value_or(runtime::HostProcess());
    }
    return state;
}

void Pod::write_state(const std::string& id) {
    const auto found = entries_.find(id);
    if (found == entries_.end() || phase_ == Phase::Ended) {
        return;
    }
    const Entry& entry = found->second;
    runtime::ContainerState state = describe(entry.container->bundle(), entry.cgroups);
    state.status = to_container_status(entry.container->status());
    state.created = entry.container->created_at();
    state.pid = entry.container->status() == TaskStatus::Stopped ? 0 : entry.container->proxy_pid();
    const PodDirectory& directory = entry.own_directory ? *entry.own_directory : *directory_;
    const Result<void> written = runtime::write_state(directory.fd(), state);
    if (!written) {
        log::warn("the state file is out of date", {{"error", written.error().message()}});
    }
}

}  // namespace pepita::shim
