#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/identity.h"
#include "cri/runtime_service.h"
#include "cri/selectors.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

// What pods and containers use.

namespace pepita::cri {
namespace {

constexpr std::uint64_t kNanosecondsOfMicrosecond = 1000;

void put(const runtime::ContainerStats& stats, std::int64_t now, v1::CpuUsage& cpu) {
    cpu.set_timestamp(now);
    cpu.mutable_usage_core_nano_seconds()->set_value(stats.cpu_usage_us *
                                                     kNanosecondsOfMicrosecond);
    cpu.mutable_psi()->mutable_some()->set_total(stats.cpu_stalled_us);
}

void put(const runtime::ContainerStats& stats, std::int64_t now, v1::MemoryUsage& memory) {
    memory.set_timestamp(now);
    const std::uint64_t working_set = stats.memory_bytes > stats.memory_inactive_file_bytes
                                          ? stats.memory_bytes - stats.memory_inactive_file_bytes
                                          : 0;
    memory.mutable_working_set_bytes()->set_value(working_set);
    if (stats.memory_limit_bytes > working_set) {
        memory.mutable_available_bytes()->set_value(stats.memory_limit_bytes - working_set);
    }
    memory.mutable_usage_bytes()->set_value(stats.memory_bytes);
    memory.mutable_rss_bytes()->set_value(stats.memory_anonymous_bytes);
    memory.mutable_page_faults()->set_value(stats.page_faults);
    memory.mutable_major_page_faults()->set_value(stats.page_faults_major);
    memory.mutable_psi()->mutable_some()->set_total(stats.memory_stalled_us);
}

v1::ContainerStats stats_of(const ContainerRecord& record, const runtime::ContainerStats& stats) {
    const std::int64_t now = now_ns();
    v1::ContainerStats out;
    out.mutable_attributes()->set_id(record.id());
    *out.mutable_attributes()->mutable_metadata() = record.config().metadata();
    *out.mutable_attributes()->mutable_labels() = record.config().labels();
    *out.mutable_attributes()->mutable_annotations() = record.config().annotations();
    put(stats, now, *out.mutable_cpu());
    put(stats, now, *out.mutable_memory());
    out.mutable_swap()->set_timestamp(now);
    out.mutable_swap()->mutable_swap_usage_bytes()->set_value(stats.memory_swap_bytes);
    out.mutable_io()->set_timestamp(now);
    out.mutable_io()->mutable_psi()->mutable_some()->set_total(stats.io_stalled_us);
    return out;
}

}  // namespace

void RuntimeService::stats_of(const std::vector<ContainerRef>& containers,
                              std::move_only_function<void(std::vector<v1::ContainerStats>)> done) {
    struct Asking {
        std::vector<v1::ContainerStats> got;
        std::size_t left = 0;
        std::move_only_function<void(std::vector<v1::ContainerStats>)> done;
        void end_one() {
            if (--left == 0) {
                done(std::move(got));
            }
        }
    };
    const auto asking = std::make_shared<Asking>();
    asking->done = std::move(done);
    asking->left = containers.size() + 1;
    for (const ContainerRef& container : containers) {
        if (container->record.state() != v1::CONTAINER_RUNNING || !container->pod->shim) {
            // One that does not run uses nothing.
            asking->got.push_back(cri::stats_of(container->record, {}));
            asking->end_one();
            continue;
        }
        container->pod->shim->tasks().stats(
            container->record.id(),
            while_here<runtime::ContainerStats>(
                [asking, container](const Result<runtime::ContainerStats>& stats) {
                    if (stats) {
                        asking->got.push_back(cri::stats_of(container->record, *stats));
                    }
                    asking->end_one();
                }));
    }
    asking->end_one();
}

void RuntimeService::container_stats(const v1::ContainerStatsRequest& request,
                                     Done<v1::ContainerStatsResponse> done) {
    Result<ContainerRef> container = find_container(request.container_id());
    if (!container) {
        return done(std::move(container).error());
    }
    stats_of({*container}, [id = (*container)->record.id(),
                            done = std::move(done)](std::vector<v1::ContainerStats> stats) mutable {
        if (stats.empty()) {
            return done(Error(Code::Unavailable, "container '" + id + "' has ended"));
        }
        v1::ContainerStatsResponse response;
        *response.mutable_stats() = std::move(stats.front());
        done(std::move(response));
    });
}

void RuntimeService::list_container_stats(const v1::ListContainerStatsRequest& request,
                                          Done<v1::ListContainerStatsResponse> done) {
    std::vector<ContainerRef> wanted;
    for (const auto& [id, container] : containers_) {
        if (container->record.state() != v1::CONTAINER_UNKNOWN &&
            has_id(id, request.filter().id()) &&
            has_id(container->record.pod_id(), request.filter().pod_sandbox_id()) &&
            has_labels(container->record.config().labels(), request.filter().label_selector())) {
            wanted.push_back(container);
        }
    }
    stats_of(wanted, [done = std::move(done)](std::vector<v1::ContainerStats> stats) mutable {
        v1::ListContainerStatsResponse response;
        for (v1::ContainerStats& one : stats) {
            *response.add_stats() = std::move(one);
        }
        done(std::move(response));
    });
}

void RuntimeService::pod_stats(const PodRef& pod, Done<v1::PodSandboxStats> done) {
    std::vector<ContainerRef> containers;
    for (const auto& [id, container] : pod->containers) {
        containers.push_back(container);
    }
    stats_of(containers, [this, pod,
                          done = std::move(done)](std::vector<v1::ContainerStats> stats) mutable {
        v1::PodSandboxStats out;
        out.mutable_attributes()->set_id(pod->record.id());
        *out.mutable_attributes()->mutable_metadata() = pod->record.config().metadata();
        *out.mutable_attributes()->mutable_labels() = pod->record.config().labels();
        *out.mutable_attributes()->mutable_annotations() = pod->record.config().annotations();
        for (v1::ContainerStats& one : stats) {
            *out.mutable_linux()->add_containers() = std::move(one);
        }
        if (!pod->shim) {
            return done(std::move(out));
        }
        pod->shim->sandbox().stats(
            pod->record.id(),
            while_here<runtime::ContainerStats>(
                [out = std::move(out),
                 done = std::move(done)](const Result<runtime::ContainerStats>& sum) mutable {
                    if (sum) {
                        const std::int64_t now = now_ns();
                        v1::LinuxPodSandboxStats& linux = *out.mutable_linux();
                        put(*sum, now, *linux.mutable_cpu());
                        put(*sum, now, *linux.mutable_memory());
                        linux.mutable_process()->set_timestamp(now);
                        linux.mutable_process()->mutable_process_count()->set_value(sum->pids);
                    }
                    done(std::move(out));
                }));
    });
}

void RuntimeService::pod_sandbox_stats(const v1::PodSandboxStatsRequest& request,
                                       Done<v1::PodSandboxStatsResponse> done) {
    Result<PodRef> pod = find_pod(request.pod_sandbox_id());
    if (!pod) {
        return done(std::move(pod).error());
    }
    pod_stats(*pod, [done = std::move(done)](Result<v1::PodSandboxStats> stats) mutable {
        if (!stats) {
            return done(std::move(stats).error());
        }
        v1::PodSandboxStatsResponse response;
        *response.mutable_stats() = *std::move(stats);
        done(std::move(response));
    });
}

void RuntimeService::list_pod_sandbox_stats(const v1::ListPodSandboxStatsRequest& request,
                                            Done<v1::ListPodSandboxStatsResponse> done) {
    struct Asking {
        v1::ListPodSandboxStatsResponse response;
        std::size_t left = 1;
        Done<v1::ListPodSandboxStatsResponse> done;
        void end_one() {
            if (--left == 0) {
                done(std::move(response));
            }
        }
    };
    const auto asking = std::make_shared<Asking>();
    asking->done = std::move(done);
    for (const auto& [id, pod] : pods_) {
        if (!pod->record.is_made() || !has_id(id, request.filter().id()) ||
            !has_labels(pod->record.config().labels(), request.filter().label_selector())) {
            continue;
        }
        ++asking->left;
        pod_stats(pod, [asking](Result<v1::PodSandboxStats> stats) {
            if (stats) {
                *asking->response.add_stats() = *std::move(stats);
            }
            asking->end_one();
        });
    }
    asking->end_one();
}

}  // namespace pepita::cri
