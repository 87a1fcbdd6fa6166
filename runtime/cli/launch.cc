#include "runtime/cli/launch.h"

#include <sys/poll.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/foreground.h"
#include "runtime/cli/poststop.h"
#include "runtime/cli/process_io.h"
#include "runtime/cli/removal.h"
#include "runtime/cli/report.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/shim_process.h"
#include "runtime/container.h"
#include "runtime/hooks.h"
#include "runtime/oci/host_cgroup.h"
#include "runtime/pod_cgroup.h"
#include "runtime/pod_role.h"
#include "runtime/pod_spec.h"
#include "runtime/proxy.h"
#include "runtime/state.h"
#include "runtime/store.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kEndDeadline{15};

/// The pod of one container that the command line describes.
PodSpec pod_spec_of(const Command& command, const Bundle& bundle) {
    PodSpec spec = command.pod;
    spec.name = command.id;
    spec.root = command.root;
    if (spec.isolation == IsolationChoice::Process && !bundle.cgroups_path.empty()) {
        spec.cgroup = oci::cgroup_place(bundle.cgroups_path).value_or("");  // it is one by now
    }
    return spec;
}

/// The place of a container's groups on the host: those of its stand-in, as a rule.
Result<std::string> cgroups_path_of(const Command& command, const Bundle& bundle) {
    if (command.pod.isolation != IsolationChoice::Process) {
        return bundle.cgroups_path;
    }
    return TRY(oci::cgroup_place(bundle.cgroups_path.empty() ? "/pepita-" + command.id
                                                             : bundle.cgroups_path),
               "linux.cgroupsPath")
        .append(kRuntimeGroup);
}

/// Whether a process is over, at the latest after `limit`.
bool is_over(const Child& child, std::chrono::milliseconds limit) {
    pollfd ready{.fd = child.pidfd().number(), .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, static_cast<int>(limit.count())) == 1;
}

}  // namespace

Launch::Launch(const Command& command, const Bundle& bundle, std::vector<std::string> cgroups)
    : command_(command), bundle_(bundle), cgroups_(std::move(cgroups)) {}

Result<std::unique_ptr<Launch>> Launch::begin(EventLoop& loop, const Command& command,
                                              const Bundle& bundle) {
    // First of all: whoever wants to stop us must not leave half a container behind.
    auto foreground = TRY(Foreground::create(loop, {.container = command.id, .exec = ""},
                                             bundle.container.process.terminal));
    std::unique_ptr<Launch> out(
        new Launch(command, bundle, TRY(oci::make_cgroups(TRY(cgroups_path_of(command, bundle))))));
    out->foreground_ = std::move(foreground);
    TRY(out->start());
    out->link_ = TRY(ShimLink::create(loop, std::move(out->socket_)));
    out->foreground_->attach(*out->link_);
    return out;
}

Result<void> Launch::start() {
    std::optional<ContainerView> shown;
    if (!command_.pod.packs_roots) {
        shown = {.root = bundle_.root_path,
                 .is_read_only = bundle_.container.root_read_only,
                 .mounts = bundle_.container.mounts};
    }
    const auto pod = TRY(find_pod());
    proxy_ = std::make_unique<Proxy>(TRY(start_proxy(cgroups_, shown, bundle_.network_namespace)));
    return pod ? join(*pod) : start_own_shim();
}

// By its annotations, or by a network namespace that is a pod's: podman names that of a pod's first
// container or of the container that is to be joined.
Result<std::optional<std::string>> Launch::find_pod() const {
    const PodRole role = pod_role(bundle_.annotations);
    if (role.kind == PodRole::Kind::Member) {
        return std::optional(role.pod);
    }
    if (role.kind == PodRole::Kind::Pod || bundle_.network_namespace.empty()) {
        return std::optional<std::string>();
    }
    const oci::ContainerStore store = TRY(oci::ContainerStore::open(command_.root));
    return store.pod_of_network(bundle_.network_namespace);
}

Result<void> Launch::join(const std::string& pod) {
    const oci::ContainerStore store = TRY(oci::ContainerStore::open(command_.root));
    Result<Fd> directory = check_container_id(pod) ? store.open_container(pod)
                                                   : Error(Code::InvalidArgument, "no pod's name");
    Result<Fd> socket =
        directory ? oci::connect_shim(directory->ref()) : std::move(directory).error();
    if (!socket) {
        return std::move(socket).error().within("join the pod '" + pod + "'");
    }
    socket_ = *std::move(socket);
    return {};
}

Result<void> Launch::start_own_shim() {
    // Without a microVM it makes and leaves the groups itself.
    const bool is_on_host = command_.pod.isolation == IsolationChoice::Process;
    ShimProcess shim = TRY(
        start_shim(command_, is_on_host ? std::span<const std::string>() : std::span(cgroups_)));
    shim_pid_ = static_cast<std::uint32_t>(shim.process.pid());
    shim_ = std::make_unique<Child>(std::move(shim.process));
    socket_ = std::move(shim.socket);
    return {};
}

/// Why the shim has closed its socket without an answer.
Error Launch::shim_end() {
    if (!shim_) {
        return {Code::Unavailable, "the pod has ended"};
    }
    if (is_over(*shim_, kEndDeadline)) {
        return {Code::Unavailable, "the shim ended unexpectedly: " + to_string(shim_->reap())};
    }
    return {Code::Unavailable, "the shim ended unexpectedly"};
}

Result<void> Launch::create() {
    TaskCreate request{.id = command_.id,
                       .bundle = bundle_.directory,
                       .io = {},
                       .cgroups = cgroups_,
                       .pod = std::nullopt};
    if (shim_) {
        request.pod = pod_spec_of(command_, bundle_);
    }
    is_asked_ = true;
    request.io = TRY(make_io(command_, bundle_.container.process.terminal));
    attach_proxy(request.io, *proxy_);
    TRY(run_hooks_before());
    auto made = link_->ask<std::uint32_t>(
        [&](TaskClient& client, auto done) { client.create(std::move(request), std::move(done)); });
    if (!made && link_->is_closed()) {
        return shim_end();
    }
    if (!made) {
        return std::move(made).error();
    }
    if (shim_ && command_.pod.isolation == IsolationChoice::Auto) {
        TRY(say_isolation(), "read the state");
    }
    return announce_pid(command_, proxy_->process);
}

// With the stand-in's namespaces, which what prepares the network finds by the state's pid, and
// before the shim looks at them.
Result<void> Launch::run_hooks_before() {
    const HostHooks& hooks = bundle_.hooks;
    if (hooks == HostHooks()) {
        return {};
    }
    const oci::ContainerStore store = TRY(oci::ContainerStore::open(command_.root));
    if (store.open_container(command_.id)) {
        return Error(Code::AlreadyExists, "container '" + command_.id + "' already exists");
    }
    has_run_hooks_ = true;
    const std::string state = oci::hook_state(bundle_, command_.id, ContainerStatus::Creating,
                                              static_cast<std::uint32_t>(proxy_->process.pid()));
    TRY(oci::run_host_hooks("prestart", hooks.prestart, state, oci::OnHookFailure::Stop));
    return oci::run_host_hooks("createRuntime", hooks.create_runtime, state,
                               oci::OnHookFailure::Stop);
}

Result<void> Launch::run_hooks_after_start() {
    const std::string state = oci::hook_state(bundle_, command_.id, ContainerStatus::Running,
                                              static_cast<std::uint32_t>(proxy_->process.pid()));
    return oci::run_host_hooks("poststart", bundle_.hooks.poststart, state,
                               oci::OnHookFailure::Stop);
}

// What was chosen for the user is not chosen silently.
Result<void> Launch::say_isolation() {
    const oci::ContainerStore store = TRY(oci::ContainerStore::open(command_.root));
    const Fd directory = TRY(store.open_container(command_.id));
    const ContainerState state = TRY(read_state(directory.ref()));
    note(command_, "isolation " + state.isolation + " (" + state.isolation_reason + ")");
    return {};
}

void Launch::release() {
    is_released_ = true;
    if (shim_) {
        shim_->release();
    }
    proxy_->process.release();
}

Launch::~Launch() {
    foreground_->ending();
    if (is_released_) {
        return;
    }
    end_shim();
    sweep();
    // What hangs is killed here.
    shim_.reset();
    proxy_.reset();
    oci::remove_cgroups(cgroups_);
    if (has_run_hooks_) {
        run_poststop_hooks(command_, bundle_);
    }
}

void Launch::end_shim() {
    if (link_ == nullptr) {
        return;
    }
    if (!shim_) {
        if (is_asked_) {
            (void)remove_by_shim(*link_, command_.id, true).has_value();
        }
        return;
    }
    // Failing is for the last resort below to handle.
    (void)link_
        ->ask<bool>([](TaskClient& client, auto done) { client.shutdown(true, std::move(done)); },
                    kEndDeadline)
        .has_value();
    if (link_->wait_closed(kEndDeadline) && is_over(*shim_, kEndDeadline)) {
        (void)is_over(proxy_->process, kEndDeadline);
    }
}

/// What a shim that was killed, or will be, could not remove itself.
void Launch::sweep() {
    const auto store = oci::ContainerStore::open(command_.root);
    if (!store) {
        return;
    }
    const auto directory = store->open_container(command_.id);
    if (!directory) {
        return;  // the usual case: it has cleaned up
    }
    const auto state = read_state(directory->ref());
    // A name that was taken is somebody else's container.
    if (state && shim_ && state->shim.pid == shim_pid_) {
        (void)kill_process(state->shim).has_value();
        (void)kill_process(state->vmm).has_value();
        end_left_containers(cgroups_);
        (void)store->remove(command_.id).has_value();
    }
}

}  // namespace pepita::runtime::cli
