#pragma once

#include <cstdint>
#include <vector>

#include "cri/api/cri.h"
#include "cri/network_usage.h"
#include "runtime/container.h"

namespace pepita::cri {

/// What the kubelet serves as /metrics/cadvisor, under cAdvisor's names and labels. A metric whose
/// value the guest does not know is not among them (cri/README.md names it). CRI's values are
/// whole numbers, so seconds are cut.
/// Source: google/cadvisor metrics/prometheus.go; KEP-2371.
std::vector<v1::MetricDescriptor> metric_descriptors();

/// All of them of one container. `now_ns`: since 1970.
v1::ContainerMetrics container_metrics(const PodRecord& pod, const ContainerRecord& container,
                                       const runtime::ContainerStats& stats, std::int64_t now_ns);

/// Those of a pod's network interfaces, appended to `metrics`.
void add_network_metrics(const PodRecord& pod, const std::vector<InterfaceUsage>& interfaces,
                         v1::PodSandboxMetrics& metrics);

}  // namespace pepita::cri
