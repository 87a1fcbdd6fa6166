#include "shim/containerd/tasks.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/hooks.h"
#include "runtime/pod_role.h"
#include "runtime/pod_spec.h"
#include "runtime/proxy.h"
#include "runtime/state.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/containerd/pod_options.h"

namespace pepita::shim::containerd {
namespace {

using runtime::Bundle;
using runtime::ContainerStatus;
using runtime::PodRole;
using runtime::PodSpec;
using runtime::oci::OnHookFailure;

// The CRI binds a tmpfs of the host there, whose memory would be shared with nobody in the guest.
constexpr std::string_view kSharedMemory = "/dev/shm";

void share_memory(Bundle& bundle) {
    for (runtime::MountSpec& mount : bundle.container.mounts) {
        if (mount.destination == kSharedMemory && mount.type == "bind" &&
            mount.source.ends_with("/shm")) {
            mount = {.destination = std::string(kSharedMemory),
                     .type = "tmpfs",
                     .source = "pod:shm",
                     .options = {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}};
        }
    }
}

Result<void> run_before(const Bundle& bundle, std::uint32_t pid) {
    const std::string state =
        runtime::oci::hook_state(bundle, bundle.container.id, ContainerStatus::Creating, pid);
    TRY(runtime::oci::run_host_hooks("prestart", bundle.hooks.prestart, state,
                                     OnHookFailure::Stop));
    return runtime::oci::run_host_hooks("createRuntime", bundle.hooks.create_runtime, state,
                                        OnHookFailure::Stop);
}

void note(const Bundle& bundle, const Result<void>& ran) {
    if (!ran) {
        log::warn("a hook failed",
                  {{"container", bundle.container.id}, {"error", ran.error().message()}});
    }
}

}  // namespace

Result<PodSpec> Tasks::pod_spec(const runtime::TaskCreate& request, const Bundle& bundle) const {
    PodSpec spec;
    const bool is_named = !request.config_path.empty();
    const std::string path = is_named ? request.config_path : kConfigPath;
    Result<std::string> config = read_file(path);
    if (config) {
        TRY(apply_config(*config, spec), "configuration '", path, "'");
    } else if (is_named || config.error().code() != Code::NotFound) {
        return std::move(config).error();
    }
    TRY(apply_annotations(bundle.annotations, spec));
    spec.name = request.id;
    spec.root = root_;
    spec.cgroup = bundle.cgroups_path;
    return spec;
}

Result<void> Tasks::complete(runtime::TaskCreate& request, Bundle& bundle) {
    const PodRole role = runtime::pod_role(bundle.annotations);
    if (role.kind != PodRole::Kind::Member) {
        request.pod = TRY(pod_spec(request, bundle));
    } else {
        share_memory(bundle);
    }
    runtime::Proxy proxy = TRY(runtime::start_proxy({}, std::nullopt, bundle.network_namespace));
    const auto pid = static_cast<std::uint32_t>(proxy.process.pid());
    if (bundle.hooks != runtime::HostHooks()) {
        hooked_.insert_or_assign(request.id, bundle);
        if (Result<void> ran = run_before(bundle, pid); !ran) {
            hooked_.erase(request.id);
            return ran;
        }
    }
    TRY(keep(std::move(proxy.process)));
    request.io.proxy = std::move(proxy.socket);
    request.io.proxy_pid = pid;
    return {};
}

// It ends with its process, or when its socket is closed.
Result<void> Tasks::keep(Child child) {
    const auto place =
        stand_ins_.insert(stand_ins_.end(), {.child = std::move(child), .watch = {}});
    auto watch = loop_.watch(place->child.pidfd(), EPOLLIN, [this, place](std::uint32_t) {
        place->watch.cancel();
        (void)place->child.reap();
        stand_ins_.erase(place);
    });
    if (!watch) {
        stand_ins_.erase(place);
        return std::move(watch).error();
    }
    place->watch = *std::move(watch);
    return {};
}

void Tasks::on_event(const runtime::TaskEvent& event) {
    const auto found = hooked_.find(event.process.container);
    if (found == hooked_.end() || !event.process.exec.empty()) {
        return;
    }
    const Bundle& bundle = found->second;
    const std::string& id = event.process.container;
    if (event.kind == runtime::TaskEvent::Kind::Start) {
        note(bundle,
             runtime::oci::run_host_hooks(
                 "poststart", bundle.hooks.poststart,
                 runtime::oci::hook_state(bundle, id, ContainerStatus::Running, event.task.pid),
                 OnHookFailure::Stop));
    } else if (event.kind == runtime::TaskEvent::Kind::Delete) {
        note(bundle, runtime::oci::run_host_hooks(
                         "poststop", bundle.hooks.poststop,
                         runtime::oci::hook_state(bundle, id, ContainerStatus::Stopped, 0),
                         OnHookFailure::Note));
        hooked_.erase(found);
    }
}

}  // namespace pepita::shim::containerd
