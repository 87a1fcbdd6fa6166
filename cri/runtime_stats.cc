#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/container_metrics.h"
#include "cri/identity.h"
#include "cri/network_usage.h"
#include "cri/runtime_service.h"
#include "cri/selectors.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

// What pods and containers use.

namespace pepita::cri {
namespace {

constexpr std::uint64_t kNanosecondsOfMicrosecond = 1000;

void put(const runtime::Stall& stall, v1::PsiData& psi) {
    constexpr double hundredths = 100;
    psi.set_total(stall.total_us * kNanosecondsOfMicrosecond);
    psi.set_avg10(static_cast<double>(stall.average_10s) / hundredths);
    psi.set_avg60(static_cast<double>(stall.average_60s) / hundredths);
    psi.set_avg300(static_cast<double>(stall.average_300s) / hundredths);
}

void put(const runtime::Pressure& pressure, v1::PsiStats& psi) {
    put(pressure.some, *psi.mutable_some());
    put(pressure.full, *psi.mutable_full());
}

void put(const runtime::ContainerStats& stats, std::int64_t now, v1::CpuUsage& cpu) {
    cpu.set_timestamp(now);
    cpu.mutable_usage_core_nano_seconds()->set_value(stats.cpu_usage_us *
                                                     kNanosecondsOfMicrosecond);
    put(stats.cpu_pressure, *cpu.mutable_psi());
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
    put(stats.memory_pressure, *memory.mutable_psi());
}

void put(const runtime::ContainerStats& stats, std::int64_t now, v1::IoUsage& io) {
    io.set_timestamp(now);
    put(stats.io_pressure, *io.mutable_psi());
}

void put(const InterfaceUsage& usage, v1::NetworkInterfaceUsage& interface) {
    interface.set_name(usage.name);
    interface.mutable_rx_bytes()->set_value(usage.received_bytes);
    interface.mutable_rx_errors()->set_value(usage.receive_errors);
    interface.mutable_tx_bytes()->set_value(usage.sent_bytes);
    interface.mutable_tx_errors()->set_value(usage.send_errors);
}

/// The first is that of the pod's network; CNI's other ones come after it.
void put(const std::vector<InterfaceUsage>& usage, std::int64_t now, v1::NetworkUsage& network) {
    network.set_timestamp(now);
    if (!usage.empty()) {
        put(usage.front(), *network.mutable_default_interface());
    }
    for (std::size_t other = 1; other < usage.size(); ++other) {
        put(usage[other], *network.add_interfaces());
    }
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
    put(stats, now, *out.mutable_io());
    return out;
}

}  // namespace

std::vector<InterfaceUsage> RuntimeService::network_usage(const Pod& pod) const {
    auto usage = read_network_usage(namespace_path(pod));
    if (!usage) {
        log::warn("a pod's network is not counted",
                  {{"pod", pod.record.id()}, {"error", usage.error().message()}});
    }
    return std::move(usage).value_or(std::vector<InterfaceUsage>());
}

void RuntimeService::ask_usage(const std::vector<ContainerRef>& containers,
                               std::move_only_function<void(std::vector<Usage>)> done) {
    struct Asking {
        std::vector<Usage> got;
        std::size_t left = 1;  // this function's own, so that nothing ends before all are asked
        std::move_only_function<void(std::vector<Usage>)> done;
        void end_one() {
            if (--left == 0) {
                done(std::move(got));
            }
        }
    };
    const auto asking = std::make_shared<Asking>();
    asking->done = std::move(done);
    for (const ContainerRef& container : containers) {
        if (container->record.state() != v1::CONTAINER_RUNNING || !container->pod->shim) {
            // One that does not run uses nothing.
            asking->got.push_back({.container = container, .stats = {}});
            continue;
        }
        ++asking->left;
        container->pod->shim->tasks().stats(
            container->record.id(),
            while_here<runtime::ContainerStats>(
                [asking, container](const Result<runtime::ContainerStats>& stats) {
                    if (stats) {
                        asking->got.push_back({.container = container, .stats = *stats});
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
    ask_usage({*container}, [id = (*container)->record.id(),
                             done = std::move(done)](const std::vector<Usage>& usage) mutable {
        if (usage.empty()) {
            return done(Error(Code::Unavailable, "container '" + id + "' has ended"));
        }
        v1::ContainerStatsResponse response;
        *response.mutable_stats() = stats_of(usage.front().container->record, usage.front().stats);
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
    ask_usage(wanted, [done = std::move(done)](const std::vector<Usage>& usage) mutable {
        v1::ListContainerStatsResponse response;
        for (const Usage& one : usage) {
            *response.add_stats() = stats_of(one.container->record, one.stats);
        }
        done(std::move(response));
    });
}

void RuntimeService::pod_stats(const PodRef& pod, Done<v1::PodSandboxStats> done) {
    std::vector<ContainerRef> containers;
    for (const auto& [id, container] : pod->containers) {
        containers.push_back(container);
    }
    ask_usage(
        containers, [this, pod, done = std::move(done)](const std::vector<Usage>& usage) mutable {
            v1::PodSandboxStats out;
            out.mutable_attributes()->set_id(pod->record.id());
            *out.mutable_attributes()->mutable_metadata() = pod->record.config().metadata();
            *out.mutable_attributes()->mutable_labels() = pod->record.config().labels();
            *out.mutable_attributes()->mutable_annotations() = pod->record.config().annotations();
            for (const Usage& one : usage) {
                *out.mutable_linux()->add_containers() = stats_of(one.container->record, one.stats);
            }
            if (!pod->shim) {
                return done(std::move(out));
            }
            pod->shim->sandbox().stats(
                pod->record.id(),
                while_here<runtime::ContainerStats>(
                    [this, pod, out = std::move(out),
                     done = std::move(done)](const Result<runtime::ContainerStats>& sum) mutable {
                        if (sum) {
                            const std::int64_t now = now_ns();
                            v1::LinuxPodSandboxStats& linux = *out.mutable_linux();
                            put(*sum, now, *linux.mutable_cpu());
                            put(*sum, now, *linux.mutable_memory());
                            put(*sum, now, *linux.mutable_io());
                            put(network_usage(*pod), now, *linux.mutable_network());
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

void RuntimeService::list_metric_descriptors(const v1::ListMetricDescriptorsRequest& /*request*/,
                                             Done<v1::ListMetricDescriptorsResponse> done) {
    v1::ListMetricDescriptorsResponse response;
    for (v1::MetricDescriptor& descriptor : metric_descriptors()) {
        *response.add_descriptors() = std::move(descriptor);
    }
    done(std::move(response));
}

void RuntimeService::list_pod_sandbox_metrics(const v1::ListPodSandboxMetricsRequest& /*request*/,
                                              Done<v1::ListPodSandboxMetricsResponse> done) {
    std::vector<ContainerRef> running;
    std::vector<PodRef> ready;
    for (const auto& [id, pod] : pods_) {
        if (pod->shim && pod->record.is_ready()) {
            ready.push_back(pod);
        }
    }
    for (const auto& [id, container] : containers_) {
        if (container->record.state() == v1::CONTAINER_RUNNING) {
            running.push_back(container);
        }
    }
    ask_usage(running, [this, ready = std::move(ready),
                        done = std::move(done)](const std::vector<Usage>& usage) mutable {
        const std::int64_t now = now_ns();
        v1::ListPodSandboxMetricsResponse response;
        for (const PodRef& pod : ready) {
            if (!pod->shim) {
                continue;  // it has ended meanwhile
            }
            v1::PodSandboxMetrics& metrics = *response.add_pod_metrics();
            metrics.set_pod_sandbox_id(pod->record.id());
            add_network_metrics(pod->record, network_usage(*pod), metrics);
            for (const Usage& one : usage) {
                if (one.container->pod == pod.get()) {
                    *metrics.add_container_metrics() =
                        container_metrics(pod->record, one.container->record, one.stats, now);
                }
            }
        }
        done(std::move(response));
    });
}

}  // namespace pepita::cri
