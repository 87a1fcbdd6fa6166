#include "cri/container_metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cri/api/cri.h"
#include "cri/network_usage.h"
#include "runtime/container.h"

namespace pepita::cri {
namespace {

constexpr std::uint64_t kMicroseconds = 1'000'000;  // of a second
constexpr std::int64_t kNanoseconds = 1'000'000'000;
constexpr std::array kLabels{"container", "id", "image", "name", "namespace", "pod"};

struct Subject {
    const ContainerRecord& container;
    const runtime::ContainerStats& stats;
    std::int64_t now_ns;

    const v1::LinuxContainerResources& limits() const {
        return container.config().linux().resources();
    }
};

/// A label beyond kLabels.
struct Label {
    std::string_view key;
    std::string_view value;
};
using Extra = std::array<Label, 4>;  // those without a key are none

constexpr Extra kNone{};
constexpr Extra kRoot{{{.key = "device", .value = "root"}}};
constexpr Extra kAllDisks{{{.key = "device", .value = "all"}}};
constexpr Extra kAllCpus{{{.key = "cpu", .value = "total"}}};

constexpr Extra blkio(std::string_view operation) {
    return {{{.key = "device", .value = "all"},
             {.key = "major", .value = "0"},
             {.key = "minor", .value = "0"},
             {.key = "operation", .value = operation}}};
}
constexpr Extra failures(std::string_view type) {
    return {{{.key = "failure_type", .value = type}, {.key = "scope", .value = "hierarchy"}}};
}

/// One series. Those of one metric stand together, and the first has its help.
template <typename Of>
struct Series {
    std::string_view name;
    std::string_view help;
    v1::MetricType type;
    Extra extra;
    std::uint64_t (*value)(const Of&);
};

template <std::uint64_t runtime::ContainerStats::* Member>
std::uint64_t number(const Subject& of) {
    return of.stats.*Member;
}
template <std::uint64_t runtime::ContainerStats::* Member>
std::uint64_t seconds(const Subject& of) {
    return of.stats.*Member / kMicroseconds;
}
template <runtime::Pressure runtime::ContainerStats::* Member,
          runtime::Stall runtime::Pressure::* Kind>
std::uint64_t stalled(const Subject& of) {
    return (of.stats.*Member.*Kind).total_us / kMicroseconds;
}
std::uint64_t working_set(const Subject& of) {
    const std::uint64_t inactive = of.stats.memory_inactive_file_bytes;
    return of.stats.memory_bytes > inactive ? of.stats.memory_bytes - inactive : 0;
}
std::uint64_t natural(std::int64_t value) {
    return value > 0 ? static_cast<std::uint64_t>(value) : 0;
}
std::uint64_t started(const Subject& of) {
    return natural(of.container.started_at_ns() / kNanoseconds);
}

/// The kubelet's memory QoS sets it by cgroup v2's name.
std::uint64_t reserved(const Subject& of) {
    const auto found = of.limits().unified().find("memory.low");
    std::uint64_t bytes = 0;
    if (found != of.limits().unified().end()) {
        const std::string& text = found->second;
        (void)std::from_chars(text.data(), text.data() + text.size(), bytes);
    }
    return bytes;
}

using Stats = runtime::ContainerStats;
using runtime::Pressure;
constexpr auto kCounter = v1::COUNTER;
constexpr auto kGauge = v1::GAUGE;

// NOLINTBEGIN(modernize-use-designated-initializers): a table, one line for each.
constexpr auto kSeries = std::to_array<Series<Subject>>({
    {"container_blkio_device_usage_total", "Bytes that were read from and written to disks.",
     kCounter, blkio("Read"), number<&Stats::io_read_bytes>},
    {"container_blkio_device_usage_total", "", kCounter, blkio("Write"),
     number<&Stats::io_written_bytes>},
    {"container_cpu_cfs_periods_total", "Periods of the CPU quota that have passed.", kCounter,
     kNone, number<&Stats::cpu_periods>},
    {"container_cpu_cfs_throttled_periods_total", "Periods in which the quota was used up.",
     kCounter, kNone, number<&Stats::cpu_throttled_periods>},
    {"container_cpu_cfs_throttled_seconds_total", "Time held back by the CPU quota.", kCounter,
     kNone, seconds<&Stats::cpu_throttled_us>},
    {"container_cpu_system_seconds_total", "CPU time in the guest's kernel.", kCounter, kNone,
     seconds<&Stats::cpu_system_us>},
    {"container_cpu_usage_seconds_total", "CPU time in all.", kCounter, kAllCpus,
     seconds<&Stats::cpu_usage_us>},
    {"container_cpu_user_seconds_total", "CPU time outside of the guest's kernel.", kCounter, kNone,
     seconds<&Stats::cpu_user_us>},
    {"container_file_descriptors", "Open file descriptors of all processes.", kGauge, kNone,
     number<&Stats::open_files>},
    {"container_fs_inodes_free", "Free inodes of the root's file system.", kGauge, kRoot,
     number<&Stats::disk_free_inodes>},
    {"container_fs_inodes_total", "Inodes of the root's file system.", kGauge, kRoot,
     number<&Stats::disk_inodes>},
    {"container_fs_limit_bytes", "Size of the root's file system.", kGauge, kRoot,
     number<&Stats::disk_bytes>},
    {"container_fs_reads_bytes_total", "Bytes that were read from disks.", kCounter, kAllDisks,
     number<&Stats::io_read_bytes>},
    {"container_fs_reads_total", "Reads from disks.", kCounter, kAllDisks,
     number<&Stats::io_reads>},
    {"container_fs_usage_bytes", "Used bytes of the root's file system.", kGauge, kRoot,
     [](const Subject& of) {
         return of.stats.disk_bytes - std::min(of.stats.disk_bytes, of.stats.disk_free_bytes);
     }},
    {"container_fs_writes_bytes_total", "Bytes that were written to disks.", kCounter, kAllDisks,
     number<&Stats::io_written_bytes>},
    {"container_fs_writes_total", "Writes to disks.", kCounter, kAllDisks,
     number<&Stats::io_writes>},
    {"container_hugetlb_usage_bytes", "Memory in huge pages.", kGauge, Extra{{{"pagesize", "2MB"}}},
     number<&Stats::huge_page_bytes>},
    {"container_last_seen", "When these numbers were read, since 1970.", kGauge, kNone,
     [](const Subject& of) { return natural(of.now_ns / kNanoseconds); }},
    {"container_memory_cache", "Memory that caches files.", kGauge, kNone,
     number<&Stats::memory_file_bytes>},
    {"container_memory_failcnt", "How often memory reached its limit.", kCounter, kNone,
     number<&Stats::memory_limit_hits>},
    {"container_memory_failures_total", "Page faults.", kCounter, failures("pgfault"),
     number<&Stats::page_faults>},
    {"container_memory_failures_total", "", kCounter, failures("pgmajfault"),
     number<&Stats::page_faults_major>},
    {"container_memory_kernel_usage", "Memory that the guest's kernel has allocated for it.",
     kGauge, kNone, number<&Stats::memory_kernel_bytes>},
    {"container_memory_mapped_file", "Memory of mapped files.", kGauge, kNone,
     number<&Stats::memory_mapped_bytes>},
    {"container_memory_max_usage_bytes", "The most memory that was ever used.", kGauge, kNone,
     number<&Stats::memory_peak_bytes>},
    {"container_memory_rss", "Anonymous memory.", kGauge, kNone,
     number<&Stats::memory_anonymous_bytes>},
    {"container_memory_swap", "Memory that is swapped out.", kGauge, kNone,
     number<&Stats::memory_swap_bytes>},
    {"container_memory_usage_bytes", "Memory in all.", kGauge, kNone, number<&Stats::memory_bytes>},
    {"container_memory_working_set_bytes", "Memory without inactive files.", kGauge, kNone,
     working_set},
    {"container_oom_events_total", "Processes that were killed for want of memory.", kCounter,
     kNone, number<&Stats::oom_kills>},
    {"container_pressure_cpu_stalled_seconds_total",
     "Time in which all processes waited for a CPU.", kCounter, kNone,
     stalled<&Stats::cpu_pressure, &Pressure::full>},
    {"container_pressure_cpu_waiting_seconds_total", "Time in which some process waited for a CPU.",
     kCounter, kNone, stalled<&Stats::cpu_pressure, &Pressure::some>},
    {"container_pressure_io_stalled_seconds_total", "Time in which all processes waited for disks.",
     kCounter, kNone, stalled<&Stats::io_pressure, &Pressure::full>},
    {"container_pressure_io_waiting_seconds_total", "Time in which some process waited for disks.",
     kCounter, kNone, stalled<&Stats::io_pressure, &Pressure::some>},
    {"container_pressure_memory_stalled_seconds_total",
     "Time in which all processes waited for memory.", kCounter, kNone,
     stalled<&Stats::memory_pressure, &Pressure::full>},
    {"container_pressure_memory_waiting_seconds_total",
     "Time in which some process waited for memory.", kCounter, kNone,
     stalled<&Stats::memory_pressure, &Pressure::some>},
    {"container_processes", "Processes.", kGauge, kNone, number<&Stats::processes>},
    {"container_sockets", "Open sockets of all processes.", kGauge, kNone, number<&Stats::sockets>},
    {"container_spec_cpu_period", "Period of the CPU quota, in microseconds.", kGauge, kNone,
     [](const Subject& of) { return natural(of.limits().cpu_period()); }},
    {"container_spec_cpu_quota", "CPU quota in a period, in microseconds; 0: none.", kGauge, kNone,
     [](const Subject& of) { return natural(of.limits().cpu_quota()); }},
    {"container_spec_cpu_shares", "Share of the CPUs.", kGauge, kNone,
     [](const Subject& of) { return natural(of.limits().cpu_shares()); }},
    {"container_spec_memory_limit_bytes", "Limit of memory; 0: none.", kGauge, kNone,
     [](const Subject& of) { return natural(of.limits().memory_limit_in_bytes()); }},
    {"container_spec_memory_reservation_limit_bytes",
     "Memory that is protected from reclaim (memory.low); 0: none.", kGauge, kNone, reserved},
    {"container_spec_memory_swap_limit_bytes", "Limit of memory and swap; 0: none.", kGauge, kNone,
     [](const Subject& of) { return natural(of.limits().memory_swap_limit_in_bytes()); }},
    {"container_start_time_seconds", "When it was started, since 1970.", kGauge, kNone, started},
    {"container_threads", "Threads of all processes.", kGauge, kNone, number<&Stats::pids>},
    {"container_threads_max", "Limit of threads; 0: none.", kGauge, kNone,
     number<&Stats::pids_limit>},
    {"container_ulimits_soft", "Soft limits of its first process.", kGauge,
     Extra{{{"ulimit", "max_open_files"}}}, number<&Stats::open_files_limit>},
});

constexpr Extra kInterface{{{.key = "interface", .value = ""}}};  // the value: its name
constexpr auto kNetworkSeries = std::to_array<Series<InterfaceUsage>>({
    {"container_network_receive_bytes_total", "Bytes that were received.", kCounter, kInterface,
     [](const InterfaceUsage& of) { return of.received_bytes; }},
    {"container_network_receive_errors_total", "Packets that were received damaged.", kCounter,
     kInterface, [](const InterfaceUsage& of) { return of.receive_errors; }},
    {"container_network_receive_packets_dropped_total", "Packets that were received and dropped.",
     kCounter, kInterface, [](const InterfaceUsage& of) { return of.receive_drops; }},
    {"container_network_receive_packets_total", "Packets that were received.", kCounter, kInterface,
     [](const InterfaceUsage& of) { return of.received_packets; }},
    {"container_network_transmit_bytes_total", "Bytes that were sent.", kCounter, kInterface,
     [](const InterfaceUsage& of) { return of.sent_bytes; }},
    {"container_network_transmit_errors_total", "Packets that could not be sent.", kCounter,
     kInterface, [](const InterfaceUsage& of) { return of.send_errors; }},
    {"container_network_transmit_packets_dropped_total",
     "Packets that were dropped before they were sent.", kCounter, kInterface,
     [](const InterfaceUsage& of) { return of.send_drops; }},
    {"container_network_transmit_packets_total", "Packets that were sent.", kCounter, kInterface,
     [](const InterfaceUsage& of) { return of.sent_packets; }},
});
// NOLINTEND(modernize-use-designated-initializers)

void describe(const auto& series, std::vector<v1::MetricDescriptor>& all) {
    for (const auto& one : series) {
        if (!all.empty() && all.back().name() == one.name) {
            continue;
        }
        v1::MetricDescriptor& descriptor = all.emplace_back();
        descriptor.set_name(std::string(one.name));
        descriptor.set_help(std::string(one.help));
        for (const char* label : kLabels) {
            descriptor.add_label_keys(label);
        }
        for (const Label& label : one.extra) {
            if (!label.key.empty()) {
                descriptor.add_label_keys(std::string(label.key));
            }
        }
    }
}

/// The values of kLabels.
using LabelValues = std::array<std::string, kLabels.size()>;

template <typename Of>
void add(const Series<Of>& series, const LabelValues& labels, std::string_view extra, const Of& of,
         v1::Metric& metric) {
    metric.set_name(std::string(series.name));
    metric.set_metric_type(series.type);
    metric.mutable_label_values()->Assign(labels.begin(), labels.end());
    for (const Label& label : series.extra) {
        if (!label.key.empty()) {
            metric.add_label_values(std::string(extra.empty() ? label.value : extra));
        }
    }
    metric.mutable_value()->set_value(series.value(of));
}

}  // namespace

std::vector<v1::MetricDescriptor> metric_descriptors() {
    std::vector<v1::MetricDescriptor> all;
    describe(kSeries, all);
    describe(kNetworkSeries, all);
    return all;
}

v1::ContainerMetrics container_metrics(const PodRecord& pod, const ContainerRecord& container,
                                       const runtime::ContainerStats& stats, std::int64_t now_ns) {
    const LabelValues labels{container.config().metadata().name(), container.id(),
                             container.config().image().image(),   container.id(),
                             pod.config().metadata().namespace_(), pod.config().metadata().name()};
    const Subject subject{.container = container, .stats = stats, .now_ns = now_ns};
    v1::ContainerMetrics metrics;
    metrics.set_container_id(container.id());
    for (const Series<Subject>& series : kSeries) {
        add(series, labels, "", subject, *metrics.add_metrics());
    }
    return metrics;
}

void add_network_metrics(const PodRecord& pod, const std::vector<InterfaceUsage>& interfaces,
                         v1::PodSandboxMetrics& metrics) {
    const LabelValues labels{"POD",
                             pod.id(),
                             "",
                             pod.id(),
                             pod.config().metadata().namespace_(),
                             pod.config().metadata().name()};
    for (const InterfaceUsage& interface : interfaces) {
        for (const Series<InterfaceUsage>& series : kNetworkSeries) {
            add(series, labels, interface.name, interface, *metrics.add_metrics());
        }
    }
}

}  // namespace pepita::cri
