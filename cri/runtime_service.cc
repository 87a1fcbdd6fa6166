#include "cri/runtime_service.h"

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "cri/api/cri.h"
#include "cri/cni.h"
#include "cri/identity.h"
#include "cri/record_store.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "storage/image_store.h"

namespace pepita::cri {
namespace {

/// By an id or its unique beginning.
template <typename T>
Result<std::shared_ptr<T>> find_by_id(const std::map<std::string, std::shared_ptr<T>>& all,
                                      std::string_view id, std::string_view what) {
    const auto missing = [&](std::string_view why) {
        return Error(Code::NotFound,
                     std::string(what) + " '" + std::string(id) + "' " + std::string(why));
    };
    const auto first = all.lower_bound(std::string(id));
    if (id.empty() || first == all.end() || !first->first.starts_with(id)) {
        return missing("does not exist");
    }
    const auto next = std::next(first);
    if (first->first != id && next != all.end() && next->first.starts_with(id)) {
        return missing("is the beginning of several ids");
    }
    return first->second;
}

}  // namespace

RuntimeService::RuntimeService(EventLoop& loop, Options options, Cni& cni,
                               storage::ImageStore& images, RecordStore pods,
                               RecordStore containers)
    : loop_(loop),
      options_(std::move(options)),
      cni_(cni),
      images_(images),
      pod_records_(std::move(pods)),
      container_records_(std::move(containers)),
      reaper_(loop) {}

RuntimeService::~RuntimeService() {
    *is_here_ = false;
    // A connection's open questions hold what they are about.
    for (const auto& [id, pod] : pods_) {
        pod->shim.reset();
    }
}

Result<std::unique_ptr<RuntimeService>> RuntimeService::create(EventLoop& loop, Options options,
                                                               Cni& cni,
                                                               storage::ImageStore& images) {
    RecordStore pods = TRY(RecordStore::open(options.state + "/pods"));
    RecordStore containers = TRY(RecordStore::open(options.state + "/containers"));
    for (const char* directory : {"/bundles", "/run"}) {
        TRY(make_directory(options.state + directory, 0700));
    }
    std::unique_ptr<RuntimeService> service(new RuntimeService(
        loop, std::move(options), cni, images, std::move(pods), std::move(containers)));
    TRY(service->restore(), "restore pods");
    return service;
}

void RuntimeService::reconfigure(const Options& options) {
    options_.isolation = options.isolation;
    options_.memory_mib = options.memory_mib;
    options_.vcpus = options.vcpus;
    options_.memory_max_mib = options.memory_max_mib;
    options_.vcpus_max = options.vcpus_max;
    options_.scratch_mib = options.scratch_mib;
    options_.boot_deadline = options.boot_deadline;
    options_.seccomp = options.seccomp;
    options_.shim = options.shim;
    options_.vmm = options.vmm;
    options_.qemu = options.qemu;
}

Result<RuntimeService::PodRef> RuntimeService::find_pod(std::string_view id) const {
    return find_by_id(pods_, id, "pod");
}

Result<RuntimeService::ContainerRef> RuntimeService::find_container(std::string_view id) const {
    return find_by_id(containers_, id, "container");
}

Result<RuntimeService::ContainerRef> RuntimeService::find_running(std::string_view id) const {
    ContainerRef container = TRY(find_container(id));
    if (container->record.state() != v1::CONTAINER_RUNNING || !container->pod->shim) {
        return Error(Code::FailedPrecondition,
                     "container '" + container->record.id() + "' is not running");
    }
    return container;
}

RuntimeService::PodRef RuntimeService::pod_of(const Container& container) const {
    return pods_.at(container.record.pod_id());
}

void RuntimeService::save(const Pod& pod) {
    const Result<void> saved = pod_records_.put(pod.record.id(), pod.record.SerializeAsString());
    if (!saved) {
        log::error("a pod's record is not written",
                   {{"pod", pod.record.id()}, {"error", saved.error().message()}});
    }
}

void RuntimeService::save(const Container& container) {
    const Result<void> saved =
        container_records_.put(container.record.id(), container.record.SerializeAsString());
    if (!saved) {
        log::error("a container's record is not written",
                   {{"container", container.record.id()}, {"error", saved.error().message()}});
    }
}

void RuntimeService::tell(const Container& container, v1::ContainerEventType type) {
    if (watchers_.empty()) {
        return;
    }
    v1::ContainerEventResponse event;
    event.set_container_id(container.record.id());
    event.set_container_event_type(type);
    event.set_created_at(now_ns());
    *event.mutable_pod_sandbox_status() = status_of(*container.pod);
    for (const auto& [id, other] : container.pod->containers) {
        *event.add_containers_statuses() = status_of(*other);
    }
    std::erase_if(watchers_, [&event](OnEvent& watcher) { return !watcher(event); });
}

}  // namespace pepita::cri
