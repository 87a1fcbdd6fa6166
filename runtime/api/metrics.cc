#include "runtime/api/metrics.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/api/task.pb.h"
#include "runtime/container.h"
#include "runtime/rpc/message.h"

namespace pepita::runtime::api {
namespace {

namespace pb = ::containerd::task::v2;

// As containerd/cgroups has it: no limit is the largest number.
std::uint64_t limit_of(std::uint64_t limit) { return limit == 0 ? UINT64_MAX : limit; }

pb::Metrics metrics_of(const ContainerStats& stats) {
    pb::Metrics metrics;
    metrics.mutable_pids()->set_current(stats.pids);
    metrics.mutable_pids()->set_limit(limit_of(stats.pids_limit));
    pb::CpuStat& cpu = *metrics.mutable_cpu();
    cpu.set_usage_usec(stats.cpu_usage_us);
    cpu.set_user_usec(stats.cpu_user_us);
    cpu.set_system_usec(stats.cpu_system_us);
    cpu.set_nr_periods(stats.cpu_periods);
    cpu.set_nr_throttled(stats.cpu_throttled_periods);
    cpu.set_throttled_usec(stats.cpu_throttled_us);
    cpu.mutable_psi()->mutable_some()->set_total(stats.cpu_stalled_us);
    pb::MemoryStat& memory = *metrics.mutable_memory();
    memory.set_anon(stats.memory_anonymous_bytes);
    memory.set_file(stats.memory_file_bytes);
    memory.set_inactive_file(stats.memory_inactive_file_bytes);
    memory.set_pgfault(stats.page_faults);
    memory.set_pgmajfault(stats.page_faults_major);
    memory.set_usage(stats.memory_bytes);
    memory.set_usage_limit(limit_of(stats.memory_limit_bytes));
    memory.set_swap_usage(stats.memory_swap_bytes);
    memory.set_max_usage(stats.memory_peak_bytes);
    memory.mutable_psi()->mutable_some()->set_total(stats.memory_stalled_us);
    pb::IoEntry& io = *metrics.mutable_io()->add_usage();
    io.set_rbytes(stats.io_read_bytes);
    io.set_wbytes(stats.io_written_bytes);
    io.set_rios(stats.io_reads);
    io.set_wios(stats.io_writes);
    metrics.mutable_io()->mutable_psi()->mutable_some()->set_total(stats.io_stalled_us);
    metrics.mutable_memory_events()->set_oom_kill(stats.oom_kills);
    return metrics;
}

ContainerStats stats_of(const pb::Metrics& metrics) {
    const auto limit = [](std::uint64_t value) { return value == UINT64_MAX ? 0 : value; };
    ContainerStats stats;
    stats.pids = metrics.pids().current();
    stats.pids_limit = limit(metrics.pids().limit());
    const pb::CpuStat& cpu = metrics.cpu();
    stats.cpu_usage_us = cpu.usage_usec();
    stats.cpu_user_us = cpu.user_usec();
    stats.cpu_system_us = cpu.system_usec();
    stats.cpu_periods = cpu.nr_periods();
    stats.cpu_throttled_periods = cpu.nr_throttled();
    stats.cpu_throttled_us = cpu.throttled_usec();
    stats.cpu_stalled_us = cpu.psi().some().total();
    const pb::MemoryStat& memory = metrics.memory();
    stats.memory_anonymous_bytes = memory.anon();
    stats.memory_file_bytes = memory.file();
    stats.memory_inactive_file_bytes = memory.inactive_file();
    stats.page_faults = memory.pgfault();
    stats.page_faults_major = memory.pgmajfault();
    stats.memory_bytes = memory.usage();
    stats.memory_limit_bytes = limit(memory.usage_limit());
    stats.memory_swap_bytes = memory.swap_usage();
    stats.memory_peak_bytes = memory.max_usage();
    stats.memory_stalled_us = memory.psi().some().total();
    for (const pb::IoEntry& io : metrics.io().usage()) {
        stats.io_read_bytes += io.rbytes();
        stats.io_written_bytes += io.wbytes();
        stats.io_reads += io.rios();
        stats.io_writes += io.wios();
    }
    stats.io_stalled_us = metrics.io().psi().some().total();
    stats.oom_kills = metrics.memory_events().oom_kill();
    return stats;
}

}  // namespace

std::string encode_metrics(const ContainerStats& stats) {
    return metrics_of(stats).SerializeAsString();
}

ContainerStats decode_metrics(std::string_view bytes) {
    const auto metrics = parse<pb::Metrics>(bytes);
    return metrics ? stats_of(*metrics) : ContainerStats();
}

}  // namespace pepita::runtime::api
