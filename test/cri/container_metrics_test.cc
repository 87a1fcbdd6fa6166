#include "cri/container_metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "cri/api/cri.h"
#include "cri/network_usage.h"
#include "runtime/container.h"

namespace pepita::cri {
namespace {

PodRecord pod() {
    PodRecord record;
    record.set_id("p1");
    record.mutable_config()->mutable_metadata()->set_name("web");
    record.mutable_config()->mutable_metadata()->set_namespace_("shop");
    return record;
}

ContainerRecord container() {
    ContainerRecord record;
    record.set_id("c1");
    record.set_started_at_ns(7'900'000'000);
    record.mutable_config()->mutable_metadata()->set_name("main");
    record.mutable_config()->mutable_image()->set_image("busybox:1");
    v1::LinuxContainerResources& limits =
        *record.mutable_config()->mutable_linux()->mutable_resources();
    limits.set_cpu_quota(-1);
    limits.set_memory_limit_in_bytes(4096);
    (*limits.mutable_unified())["memory.low"] = "1024";
    return record;
}

/// "name{label=value,...}" of those that `metrics` has.
std::map<std::string, std::uint64_t> series_of(const auto& metrics) {
    std::map<std::string, v1::MetricDescriptor> descriptors;
    for (const v1::MetricDescriptor& one : metric_descriptors()) {
        EXPECT_TRUE(descriptors.emplace(one.name(), one).second) << one.name();
    }
    std::map<std::string, std::uint64_t> series;
    for (const v1::Metric& metric : metrics) {
        const v1::MetricDescriptor& descriptor = descriptors[metric.name()];
        EXPECT_EQ(descriptor.label_keys_size(), metric.label_values_size()) << metric.name();
        std::string key = metric.name() + "{";
        for (int label = 6; label < metric.label_values_size(); ++label) {
            key += descriptor.label_keys(label) + "=" + metric.label_values(label) + ",";
        }
        EXPECT_TRUE(series.emplace(key + "}", metric.value().value()).second) << key;
    }
    return series;
}

TEST(ContainerMetrics, AreDescribedWithHelpAndLabels) {
    const std::vector<v1::MetricDescriptor> all = metric_descriptors();
    EXPECT_EQ(all.size(), 55U);
    EXPECT_TRUE(std::ranges::all_of(all, [](const v1::MetricDescriptor& one) {
        return !one.help().empty() && one.label_keys_size() >= 6;
    }));
}

TEST(ContainerMetrics, HaveTheNumbersOfTheGuestInSecondsAndBytes) {
    const runtime::ContainerStats stats{
        .cpu_usage_us = 2'999'999,
        .memory_bytes = 100,
        .memory_inactive_file_bytes = 30,
        .page_faults = 5,
        .page_faults_major = 6,
        .pids = 4,
        .cpu_pressure = {.some = {.total_us = 3'000'000}, .full = {.total_us = 1'000'000}},
        .io_read_bytes = 11,
        .io_written_bytes = 12,
        .processes = 2,
        .open_files_limit = 1024,
        .disk_bytes = 50,
        .disk_free_bytes = 20};
    const v1::ContainerMetrics metrics =
        container_metrics(pod(), container(), stats, 9'000'000'000);
    EXPECT_EQ(metrics.container_id(), "c1");
    auto series = series_of(metrics.metrics());
    EXPECT_EQ(series["container_cpu_usage_seconds_total{cpu=total,}"], 2U);
    EXPECT_EQ(series["container_memory_working_set_bytes{}"], 70U);
    EXPECT_EQ(series["container_memory_failures_total{failure_type=pgmajfault,scope=hierarchy,}"],
              6U);
    EXPECT_EQ(series["container_pressure_cpu_waiting_seconds_total{}"], 3U);
    EXPECT_EQ(series["container_pressure_cpu_stalled_seconds_total{}"], 1U);
    EXPECT_EQ(
        series["container_blkio_device_usage_total{device=all,major=0,minor=0,operation=Write,}"],
        12U);
    EXPECT_EQ(series["container_processes{}"], 2U);
    EXPECT_EQ(series["container_threads{}"], 4U);
    EXPECT_EQ(series["container_ulimits_soft{ulimit=max_open_files,}"], 1024U);
    EXPECT_EQ(series["container_fs_usage_bytes{device=root,}"], 30U);
    EXPECT_EQ(series["container_start_time_seconds{}"], 7U);
    EXPECT_EQ(series["container_last_seen{}"], 9U);
    EXPECT_EQ(series["container_spec_memory_limit_bytes{}"], 4096U);
    EXPECT_EQ(series["container_spec_memory_reservation_limit_bytes{}"], 1024U);
    EXPECT_EQ(series["container_spec_cpu_quota{}"], 0U);
    const auto& labels = metrics.metrics(0).label_values();
    EXPECT_EQ(std::vector<std::string>(labels.begin(), labels.begin() + 6),
              (std::vector<std::string>{"main", "c1", "busybox:1", "c1", "shop", "web"}));
}

TEST(ContainerMetrics, EachInterfaceOfAPodIsNamed) {
    v1::PodSandboxMetrics metrics;
    add_network_metrics(pod(),
                        {{.name = "eth0", .received_bytes = 1, .send_drops = 2},
                         {.name = "net1", .sent_packets = 3}},
                        metrics);
    auto series = series_of(metrics.metrics());
    EXPECT_EQ(series.size(), 16U);
    EXPECT_EQ(series["container_network_receive_bytes_total{interface=eth0,}"], 1U);
    EXPECT_EQ(series["container_network_transmit_packets_dropped_total{interface=eth0,}"], 2U);
    EXPECT_EQ(series["container_network_transmit_packets_total{interface=net1,}"], 3U);
    EXPECT_EQ(metrics.metrics(0).label_values(0), "POD");
}

}  // namespace
}  // namespace pepita::cri
