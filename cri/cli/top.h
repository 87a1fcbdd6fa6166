#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "cri/api/cri.h"
#include "cri/cli/node.h"
#include "cri/cli/node_command_line.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri::cli {

/// CPU time of pods and containers, by their ids, and when it was read.
struct CpuTimes {
    struct At {
        std::uint64_t used_ns = 0;
        std::int64_t now_ns = 0;
    };
    std::map<std::string, At> of;
};
CpuTimes cpu_times(const v1::ListPodSandboxStatsResponse& stats);

/// A line for each pod and, below it, each container. CPU is of the time since `before`: 100 % is
/// one processor.
std::string top_table(const v1::ListPodSandboxStatsResponse& stats, const CpuTimes& before);

/// Until a key or SIGINT; once where standard output is no terminal.
Result<int> top(Node& node, const NodeCommand& command);

}  // namespace pepita::cri::cli
