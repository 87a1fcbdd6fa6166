#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/report.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/json.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{15};
constexpr std::uint64_t kNanoseconds = 1000;  // of a microsecond

std::uint64_t limit_of(std::uint64_t limit) { return limit == 0 ? UINT64_MAX : limit; }

oci::OrderedJson to_json(const Stall& stall) {
    constexpr double hundredths = 100;
    return {{"avg10", static_cast<double>(stall.average_10s) / hundredths},
            {"avg60", static_cast<double>(stall.average_60s) / hundredths},
            {"avg300", static_cast<double>(stall.average_300s) / hundredths},
            {"total", stall.total_us}};
}

oci::OrderedJson to_json(const Pressure& pressure) {
    return {{"some", to_json(pressure.some)}, {"full", to_json(pressure.full)}};
}

// runc's types/events.go
oci::OrderedJson to_json(const ContainerStats& stats) {
    const oci::OrderedJson cpu = {{"usage",
                                   {{"total", stats.cpu_usage_us * kNanoseconds},
                                    {"kernel", stats.cpu_system_us * kNanoseconds},
                                    {"user", stats.cpu_user_us * kNanoseconds}}},
                                  {"throttling",
                                   {{"periods", stats.cpu_periods},
                                    {"throttledPeriods", stats.cpu_throttled_periods},
                                    {"throttledTime", stats.cpu_throttled_us * kNanoseconds}}},
                                  {"psi", to_json(stats.cpu_pressure)}};
    const oci::OrderedJson memory = {
        {"cache", stats.memory_file_bytes},
        {"usage",
         {{"limit", limit_of(stats.memory_limit_bytes)},
          {"usage", stats.memory_bytes},
          {"max", stats.memory_peak_bytes},
          {"failcnt", stats.oom_kills}}},
        {"swap", {{"limit", 0}, {"usage", stats.memory_swap_bytes}, {"failcnt", 0}}},
        {"raw",
         {{"anon", stats.memory_anonymous_bytes},
          {"file", stats.memory_file_bytes},
          {"inactive_file", stats.memory_inactive_file_bytes},
          {"pgfault", stats.page_faults},
          {"pgmajfault", stats.page_faults_major}}},
        {"psi", to_json(stats.memory_pressure)}};
    // The numbers of the guest's disks are nothing to the host: one entry for all.
    const auto entry = [](const char* op, std::uint64_t value) {
        return oci::OrderedJson{{"major", 0}, {"minor", 0}, {"op", op}, {"value", value}};
    };
    return {
        {"cpu", cpu},
        {"memory", memory},
        {"pids", {{"current", stats.pids}, {"limit", stats.pids_limit}}},
        {"blkio",
         {{"ioServiceBytesRecursive",
           {entry("Read", stats.io_read_bytes), entry("Write", stats.io_written_bytes)}},
          {"ioServicedRecursive", {entry("Read", stats.io_reads), entry("Write", stats.io_writes)}},
          {"psi", to_json(stats.io_pressure)}}},
        {"hugetlb", oci::OrderedJson::object()},
        {"intel_rdt", oci::OrderedJson::object()},
        {"network_interfaces", nullptr}};
}

bool print_event(const Command& command, const char* type, const oci::OrderedJson& data) {
    oci::OrderedJson event = {{"type", type}, {"id", command.id}};
    if (!data.is_null()) {
        event["data"] = data;
    }
    return print(oci::dump(event) + "\n");
}

Result<ContainerStats> ask_stats(ShimLink& link, const Command& command) {
    return link.ask<ContainerStats>(
        [&](TaskClient& client, auto done) { client.stats(command.id, std::move(done)); },
        kDeadline);
}

Result<bool> is_running(ShimLink& link, const Command& command) {
    const ProcessId process{.container = command.id, .exec = ""};
    const TaskState state = TRY(link.ask<TaskState>(
        [&](TaskClient& client, auto done) { client.state(process, std::move(done)); }, kDeadline));
    return state.status != TaskStatus::Stopped;
}

}  // namespace

Result<int> events(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const std::unique_ptr<ShimLink> link = TRY(connect_running(*loop, command));
    ContainerStats stats = TRY(ask_stats(*link, command));
    if (command.stats) {
        return print_event(command, "stats", to_json(stats)) ? 0 : 1;
    }
    std::uint64_t oom_kills = stats.oom_kills;
    while (!link->wait_closed(command.interval)) {
        const Result<bool> running = is_running(*link, command);
        if (!running || !*running) {
            break;  // it has ended, perhaps with its pod
        }
        stats = TRY(ask_stats(*link, command));
        for (; oom_kills < stats.oom_kills; ++oom_kills) {
            if (!print_event(command, "oom", nullptr)) {
                return 1;
            }
        }
        if (!print_event(command, "stats", to_json(stats))) {
            return 1;
        }
    }
    return 0;
}

}  // namespace pepita::runtime::cli
