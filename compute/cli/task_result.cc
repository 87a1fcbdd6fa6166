#include "compute/cli/task_result.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::compute::cli {
namespace {

using runtime::oci::OrderedJson;

constexpr std::array<std::string_view, kTaskStatuses> kStatusNames{"succeeded", "failed",
                                                                   "timed out", "cancelled"};
constexpr int kTimedOut = 124;
constexpr int kOurs = 125;
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

std::int64_t milliseconds(Duration time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

}  // namespace

std::string_view to_string(TaskStatus status) { return kStatusNames[std::to_underlying(status)]; }

std::string result_line(const TaskLine& task, const ExecutionResult& result) {
    OrderedJson line;
    line["line"] = task.line;
    if (!task.name.empty()) {
        line["name"] = task.name;
    }
    line["status"] = to_string(result.status);
    if (result.exit) {
        line[result.exit->by_signal ? "signal" : "exit"] = result.exit->value;
    }
    if (!result.reason.empty()) {
        line["reason"] = result.reason;
    }
    line["attempts"] = result.attempts;
    line["wait_ms"] =
        milliseconds(result.started == TimePoint{} ? result.ended - result.submitted
                                                   : result.started - result.submitted);
    line["run_ms"] =
        milliseconds(result.started == TimePoint{} ? Duration{} : result.ended - result.started);
    line["user_ms"] = milliseconds(result.user_time);
    line["system_ms"] = milliseconds(result.system_time);
    line["resident_bytes"] = result.resident_max.value();
    line["output"] = result.output;
    line["errors"] = result.errors;
    if (result.output_truncated) {
        line["output_truncated"] = true;
    }
    if (result.errors_truncated) {
        line["errors_truncated"] = true;
    }
    return runtime::oci::dump(line) + "\n";
}

Result<EndedTask> parse_result_line(std::string_view line) {
    const auto document = TRY(runtime::oci::parse_json(line));
    const auto object = TRY(runtime::oci::Node(document, "").object());
    EndedTask ended;
    ended.line = static_cast<std::uint32_t>(TRY(TRY(object.require("line")).natural(UINT32_MAX)));
    const auto status = TRY(object.require("status"));
    const std::string name = TRY(status.text());
    const auto* const found = std::ranges::find(kStatusNames, name);
    if (found == kStatusNames.end()) {
        return status.invalid("is not a task's");
    }
    ended.status = static_cast<TaskStatus>(found - kStatusNames.begin());
    ended.attempts =
        static_cast<std::uint32_t>(TRY(TRY(object.require("attempts")).natural(UINT32_MAX)));
    return ended;
}

int exit_status(const ExecutionResult& result) {
    if (result.status == TaskStatus::TimedOut) {
        return kTimedOut;
    }
    if (result.exit) {
        return static_cast<int>(result.exit->shell_status());
    }
    return result.error == Code::NotFound           ? kNotFound
           : result.error == Code::PermissionDenied ? kNotExecutable
                                                    : kOurs;
}

}  // namespace pepita::compute::cli
