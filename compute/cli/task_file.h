#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compute/cli/command_line.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {

/// A line of a task file: {"command": ["sort", "-u"], "input": "b\na\n", "timeout": "10s"}.
struct TaskLine {
    std::uint32_t line = 0;  // the first is 1
    std::string name;        // "": none
    std::vector<std::string> command;
    std::string input;
    TaskOptions options;
    friend bool operator==(const TaskLine&, const TaskLine&) = default;
};

struct TaskFile {
    static constexpr std::size_t kSizeMax = std::size_t{256} << 20U;
    static constexpr std::size_t kTasksMax = std::size_t{1} << 20U;
    /// Of the bytes, to know the file again.
    std::uint64_t fingerprint = 0;
    std::vector<TaskLine> tasks;
};

/// Reads all of a file, or names the first line that is broken. Empty lines are none. `options`
/// are those of a line that says nothing else. Errors: InvalidArgument "line 7, column 3: ...".
Result<TaskFile> parse_task_file(std::string_view text, const TaskOptions& options);

/// The tasks of a shard, counted from the file's first.
std::vector<TaskLine> tasks_of(std::vector<TaskLine> tasks, const Shard& shard);

}  // namespace pepita::compute::cli
