#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compute/task.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::compute::cli {

enum class Verb : std::uint8_t { None, Run, Batch, Top, Help, Line };
std::string_view to_string(Verb verb);

/// How a task runs.
struct TaskOptions {
    Priority priority = Priority::Normal;
    std::optional<std::chrono::milliseconds> timeout;
    std::optional<std::chrono::milliseconds> attempt_timeout;
    std::uint32_t retries = 0;
    std::optional<Bytes> memory;
    std::optional<std::chrono::milliseconds> cpu_time;
    std::optional<std::uint64_t> open_files;
    std::string directory;
    std::vector<std::string> environment;  // KEY=VALUE, beside this process's
    friend bool operator==(const TaskOptions&, const TaskOptions&) = default;
};

/// Tasks K, K + N, K + 2N, ... of a file.
struct Shard {
    std::uint32_t index = 0;
    std::uint32_t count = 1;
    friend bool operator==(const Shard&, const Shard&) = default;
};

/// What `pepita task ...` asked for; each verb reads its own part.
struct Command {
    static constexpr std::uint32_t kIntervalMax = 3600;
    Verb verb = Verb::None;
    Verb topic = Verb::None;  // Help: of which verb
    TaskOptions task;         // batch: where a line says nothing else
    std::vector<std::string> words;
    Shard shard;
    std::uint32_t workers = 0;  // 0: as many as processors
    std::string metrics;
    std::string trace;
    bool fresh = false;
    bool once = false;
    std::uint32_t interval_s = 1;
};

/// Reads the arguments behind "task". What is behind "--", or behind the first word of run's, is
/// the command's. Errors: InvalidArgument, in one line.
Result<void> parse_command_line(std::span<const std::string> arguments, Command& command);

/// Applies one member of a line of a task file. Errors: InvalidArgument; NotFound for a name that
/// is no option.
Result<void> apply_task_option(TaskOptions& options, std::string_view name, std::string_view value);

/// Of a verb; of Verb::None: of all.
std::string help_text(Verb topic);

/// A process of its command's words with these options, and the environment of this process.
Task make_task(const std::vector<std::string>& words, const TaskOptions& options,
               ProcessWork::Streams streams, std::string input);

}  // namespace pepita::compute::cli
