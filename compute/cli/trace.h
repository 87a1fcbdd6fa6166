#pragma once

#include <string>
#include <vector>

#include "compute/cli/task_file.h"
#include "compute/task.h"

namespace pepita::compute::cli {

/// What ran when, for chrome://tracing and Perfetto. A row of it holds tasks that ran one after the
/// other. Source: "Trace Event Format", the Chromium project.
class Trace {
public:
    explicit Trace(TimePoint begin) : begin_(begin) {}
    void add(const TaskLine& task, const ExecutionResult& result);
    std::string json() const;

private:
    struct Span {
        std::string name;
        TaskStatus status;
        std::uint32_t attempts;
        TimePoint submitted;
        TimePoint started;
        TimePoint ended;
    };
    TimePoint begin_;
    std::vector<Span> spans_;
};

}  // namespace pepita::compute::cli
