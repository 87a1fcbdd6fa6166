#include "cri/cli/top.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/cli/node.h"
#include "cri/cli/node_command_line.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri::cli {
namespace {

Result<v1::ListPodSandboxStatsResponse> ask(Node& node) {
    return node.ask<v1::ListPodSandboxStatsResponse>("RuntimeService/ListPodSandboxStats",
                                                     v1::ListPodSandboxStatsRequest());
}

/// "12.3" of 123 tenths.
std::string tenths(std::uint64_t value) {
    return std::to_string(value / 10) + "." + std::to_string(value % 10);
}

std::string mebibytes(std::uint64_t bytes) {
    constexpr std::uint64_t mebibyte = 1U << 20U;
    return tenths(bytes * 10 / mebibyte) + " MiB";
}

std::string cpu(const std::string& id, const v1::CpuUsage& usage, const CpuTimes& before) {
    const auto found = before.of.find(id);
    const std::uint64_t used = usage.usage_core_nano_seconds().value();
    if (found == before.of.end() || usage.timestamp() <= found->second.now_ns ||
        used < found->second.used_ns) {
        return "-";  // it is new
    }
    const auto elapsed = static_cast<std::uint64_t>(usage.timestamp() - found->second.now_ns);
    return tenths((used - found->second.used_ns) * 1000 / elapsed) + " %";
}

std::string memory(const v1::MemoryUsage& usage) {
    return mebibytes(usage.working_set_bytes().value());
}

/// Whether a key, or the end of input, came before the time was over.
bool is_ended(bool has_keys, std::uint64_t interval_s) {
    constexpr int milliseconds = 1000;
    pollfd key{.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0};
    return ::poll(&key, 1, static_cast<int>(interval_s) * milliseconds) != 0;
}

}  // namespace

CpuTimes cpu_times(const v1::ListPodSandboxStatsResponse& stats) {
    CpuTimes times;
    const auto add = [&times](const std::string& id, const v1::CpuUsage& usage) {
        times.of[id] = {.used_ns = usage.usage_core_nano_seconds().value(),
                        .now_ns = usage.timestamp()};
    };
    for (const v1::PodSandboxStats& pod : stats.stats()) {
        add(pod.attributes().id(), pod.linux().cpu());
        for (const v1::ContainerStats& container : pod.linux().containers()) {
            add(container.attributes().id(), container.cpu());
        }
    }
    return times;
}

std::string top_table(const v1::ListPodSandboxStatsResponse& stats, const CpuTimes& before) {
    std::vector<v1::PodSandboxStats> pods(stats.stats().begin(), stats.stats().end());
    std::ranges::sort(pods, {}, [](const v1::PodSandboxStats& pod) {
        return std::pair(pod.attributes().metadata().namespace_(),
                         pod.attributes().metadata().name());
    });
    std::vector<Row> rows{{"POD", "CONTAINER", "CPU", "MEMORY", "PROCESSES"}};
    for (const v1::PodSandboxStats& pod : pods) {
        const std::string name =
            pod.attributes().metadata().namespace_() + "/" + pod.attributes().metadata().name();
        rows.push_back({name, "", cpu(pod.attributes().id(), pod.linux().cpu(), before),
                        memory(pod.linux().memory()),
                        std::to_string(pod.linux().process().process_count().value())});
        for (const v1::ContainerStats& container : pod.linux().containers()) {
            rows.push_back({"", container.attributes().metadata().name(),
                            cpu(container.attributes().id(), container.cpu(), before),
                            memory(container.memory()), ""});
        }
    }
    return table(rows);
}

Result<int> top(Node& node, const NodeCommand& command) {
    const bool is_once = command.once || ::isatty(STDOUT_FILENO) != 1;
    const bool has_keys = !is_once && ::isatty(STDIN_FILENO) == 1;
    CpuTimes before = cpu_times(TRY(ask(node)));
    while (!is_ended(has_keys, command.interval_s)) {
        const v1::ListPodSandboxStatsResponse stats = TRY(ask(node));
        const std::string text = top_table(stats, before);
        TRY(print(is_once ? text : "\033[H\033[J" + text));  // home, and clear what is below
        if (is_once) {
            break;
        }
        before = cpu_times(stats);
    }
    return 0;
}

}  // namespace pepita::cri::cli
