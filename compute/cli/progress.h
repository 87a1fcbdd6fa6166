#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compute/pool.h"
#include "compute/task.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {

/// Where a batch is: what the bar, the table, the status file and the metrics are made of.
struct Progress {
    static constexpr std::array<double, 8> kBounds{0.001, 0.01, 0.1, 1, 10, 60, 600, 3600};

    std::uint64_t tasks = 0;
    std::uint64_t before = 0;                          // ended in earlier runs
    std::array<std::uint64_t, kTaskStatuses> ended{};  // in earlier runs, too
    std::chrono::milliseconds elapsed{};
    PoolCounts pool;
    /// In seconds: run times of the tasks that ended in this run: how many took at most each bound;
    /// their sum.
    std::array<std::uint64_t, kBounds.size()> within{};
    double seconds = 0;

    std::uint64_t done() const;
    void add(const ExecutionResult& result);
};

/// "[=====     ]  5/10  1 failed  2.5/s  2 s left", of at most `width` characters.
std::string bar(const Progress& progress, std::size_t width);
/// What a batch ends with.
std::string summary(const Progress& progress);

/// The status file: one struct, one codec.
std::string to_json(const Progress& progress);
/// Errors: InvalidArgument.
Result<Progress> parse_progress(std::string_view text);
/// What `top` shows of it.
std::string top_view(const Progress& progress);

std::string prometheus_text(const Progress& progress);

}  // namespace pepita::compute::cli
