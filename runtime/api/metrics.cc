#include "runtime/api/metrics.h"

#include <cmath>
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

constexpr double kHundredths = 100;
constexpr const char* kHugePage = "2MB";  // the file "hugetlb.2MB.current"

void put(const Stall& stall, pb::PsiData& psi) {
    psi.set_total(stall.total_us);
    psi.set_avg10(static_cast<double>(stall.average_10s) / kHundredths);
    psi.set_avg60(static_cast<double>(stall.average_60s) / kHundredths);
    psi.set_avg300(static_cast<double>(stall.average_300s) / kHundredths);
}

void put(const Pressure& pressure, pb::PsiStats& psi) {
    put(pressure.some, *psi.mutable_some());
    put(pressure.full, *psi.mutable_full());
}

std::uint64_t hundredths(double percent) {
    constexpr double most = 1e6;
    return percent > 0 && percent < most
               ? static_cast<std::uint64_t>(std::lround(percent * kHundredths))
               : 0;
}

Stall stall_of(const pb::PsiData& psi) {
    return {.total_us = psi.total(),
            .average_10s = hundredths(psi.avg10()),
            .average_60s = hundredths(psi.avg60()),
            .average_300s = hundredths(psi.avg300())};
}

Pressure pressure_of(const pb::PsiStats& psi) {
    return {.some = stall_of(psi.some()), .full = stall_of(psi.full())};
}

void put(const ContainerStats& stats, pb::GuestStat& guest) {
    guest.set_memory_kernel_bytes(stats.memory_kernel_bytes);
    guest.set_processes(stats.processes);
    guest.set_open_files(stats.open_files);
    guest.set_sockets(stats.sockets);
    guest.set_open_files_limit(stats.open_files_limit);
    guest.set_disk_bytes(stats.disk_bytes);
    guest.set_disk_free_bytes(stats.disk_free_bytes);
    guest.set_disk_inodes(stats.disk_inodes);
    guest.set_disk_free_inodes(stats.disk_free_inodes);
}

void read(const pb::GuestStat& guest, ContainerStats& stats) {
    stats.memory_kernel_bytes = guest.memory_kernel_bytes();
    stats.processes = guest.processes();
    stats.open_files = guest.open_files();
    stats.sockets = guest.sockets();
    stats.open_files_limit = guest.open_files_limit();
    stats.disk_bytes = guest.disk_bytes();
    stats.disk_free_bytes = guest.disk_free_bytes();
    stats.disk_inodes = guest.disk_inodes();
    stats.disk_free_inodes = guest.disk_free_inodes();
}

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
    put(stats.cpu_pressure, *cpu.mutable_psi());
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
    memory.set_file_mapped(stats.memory_mapped_bytes);
    put(stats.memory_pressure, *memory.mutable_psi());
    pb::IoEntry& io = *metrics.mutable_io()->add_usage();
    io.set_rbytes(stats.io_read_bytes);
    io.set_wbytes(stats.io_written_bytes);
    io.set_rios(stats.io_reads);
    io.set_wios(stats.io_writes);
    put(stats.io_pressure, *metrics.mutable_io()->mutable_psi());
    pb::HugeTlbStat& huge = *metrics.add_hugetlb();
    huge.set_current(stats.huge_page_bytes);
    huge.set_pagesize(kHugePage);
    metrics.mutable_memory_events()->set_max(stats.memory_limit_hits);
    metrics.mutable_memory_events()->set_oom_kill(stats.oom_kills);
    put(stats, *metrics.mutable_guest());
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
    stats.cpu_pressure = pressure_of(cpu.psi());
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
    stats.memory_pressure = pressure_of(memory.psi());
    stats.memory_mapped_bytes = memory.file_mapped();
    for (const pb::IoEntry& io : metrics.io().usage()) {
        stats.io_read_bytes += io.rbytes();
        stats.io_written_bytes += io.wbytes();
        stats.io_reads += io.rios();
        stats.io_writes += io.wios();
    }
    stats.io_pressure = pressure_of(metrics.io().psi());
    for (const pb::HugeTlbStat& huge : metrics.hugetlb()) {
        stats.huge_page_bytes += huge.pagesize() == kHugePage ? huge.current() : 0;
    }
    stats.memory_limit_hits = metrics.memory_events().max();
    read(metrics.guest(), stats);
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
