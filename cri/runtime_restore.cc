#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/identity.h"
#include "cri/pod_shim.h"
#include "cri/runtime_service.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest_api.h"
#include "runtime/task_api.h"

// Finding again what the one before us has left: its records, and the shims that run.

namespace pepita::cri {
namespace {

template <typename Record>
std::vector<Record> read_records(const std::vector<RecordStore::Record>& all) {
    std::vector<Record> records;
    for (const RecordStore::Record& one : all) {
        Record record;
        if (!record.ParseFromString(one.bytes) || record.id() != one.name) {
            log::warn("a record is damaged, and left alone", {{"record", one.name}});
            continue;
        }
        records.push_back(std::move(record));
    }
    return records;
}

/// Directories that are named like no record: of what was begun, and nobody knows of.
template <typename Known>
void sweep_unknown(const std::string& directory, const Known& known) {
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(directory, failed)) {
        if (!known.contains(entry.path().filename().string())) {
            std::filesystem::remove_all(entry.path(), failed);
        }
    }
}

}  // namespace

Result<void> RuntimeService::restore() {
    for (PodRecord& record : read_records<PodRecord>(TRY(pod_records_.all()))) {
        auto pod = std::make_shared<Pod>();
        pod->record = std::move(record);
        pods_[pod->record.id()] = std::move(pod);
    }
    for (ContainerRecord& record : read_records<ContainerRecord>(TRY(container_records_.all()))) {
        auto container = std::make_shared<Container>();
        container->record = std::move(record);
        const auto pod = pods_.find(container->record.pod_id());
        if (pod == pods_.end()) {
            forget(container);
            continue;
        }
        container->pod = pod->second.get();
        pod->second->containers[container->record.id()] = container;
        containers_[container->record.id()] = container;
    }
    sweep_unknown(options_.state + "/bundles", containers_);
    sweep_unknown(options_.state + "/run", pods_);
    std::vector<PodRef> unmade;
    for (const auto& [id, pod] : pods_) {
        rejoin(pod);
        if (!pod->record.is_made()) {
            unmade.push_back(pod);
        }
    }
    for (const PodRef& pod : unmade) {
        take_down(pod,
                  while_here<void>([this, pod](const Result<void>& /*is_down*/) { erase(pod); }));
    }
    return {};
}

void RuntimeService::rejoin(const PodRef& pod) {
    const std::string& id = pod->record.id();
    Result<std::unique_ptr<PodShim>> shim =
        PodShim::connect(loop_, options_.root + "/" + id + "/shim.sock",
                         [this, id](const Error& error) { on_shim_closed(id, error); });
    if (!shim) {
        if (pod->record.is_ready()) {
            log::warn("a pod has ended", {{"pod", id}, {"error", shim.error().message()}});
        }
        return on_pod_down(pod, "nobody watched");
    }
    pod->shim = *std::move(shim);
    if (!pod->record.is_made()) {
        return;
    }
    watch_sandbox(pod);
    for (const auto& [name, container] : pod->containers) {
        rejoin(container);
    }
}

void RuntimeService::rejoin(const ContainerRef& container) {
    if (container->record.state() == v1::CONTAINER_EXITED) {
        return;
    }
    container->pod->shim->tasks().state(
        {.container = container->record.id(), .exec = ""},
        while_here<runtime::TaskState>(
            [this, container, pod = pod_of(*container)](const Result<runtime::TaskState>& state) {
                if (!state) {
                    if (state.error().code() == Code::NotFound) {
                        lose(container, "it is gone");
                    }
                    return;
                }
                if (state->status == runtime::TaskStatus::Created) {
                    return;
                }
                // It was started, or has ended, while nobody watched.
                if (container->record.state() == v1::CONTAINER_CREATED) {
                    container->record.set_state(v1::CONTAINER_RUNNING);
                    container->record.set_started_at_ns(now_ns());
                    save(*container);
                }
                watch_exit(container);
            }));
}

}  // namespace pepita::cri
