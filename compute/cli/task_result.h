#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "compute/cli/task_file.h"
#include "compute/task.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {

/// "succeeded", "failed", "timed out" or "cancelled".
std::string_view to_string(TaskStatus status);

/// What is printed of a task, and kept of it in the journal: one JSON object in one line.
std::string result_line(const TaskLine& task, const ExecutionResult& result);

/// What a later run reads of it again.
struct EndedTask {
    std::uint32_t line = 0;
    TaskStatus status = TaskStatus::Failed;
    std::uint32_t attempts = 0;
    friend bool operator==(const EndedTask&, const EndedTask&) = default;
};
/// Errors: InvalidArgument for what result_line() does not write.
Result<EndedTask> parse_result_line(std::string_view line);

/// As a shell counts: the command's own status, 128 + n where signal n ended it, 124 where its time
/// was over, 126 and 127 where its program cannot be executed or is missing, 125 for the rest.
int exit_status(const ExecutionResult& result);

}  // namespace pepita::compute::cli
