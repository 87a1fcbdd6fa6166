#include "compute/cli/trace.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "compute/cli/task_result.h"
#include "runtime/rpc/json.h"

namespace pepita::compute::cli {
namespace {

using runtime::oci::OrderedJson;

std::int64_t microseconds(Duration time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
}

}  // namespace

void Trace::add(const TaskLine& task, const ExecutionResult& result) {
    if (result.started == TimePoint{}) {
        return;  // it never ran
    }
    spans_.push_back({.name = task.name.empty() ? task.command.front() : task.name,
                      .status = result.status,
                      .attempts = result.attempts,
                      .submitted = result.submitted,
                      .started = result.started,
                      .ended = result.ended});
}

std::string Trace::json() const {
    std::vector<const Span*> in_order;
    in_order.reserve(spans_.size());
    for (const Span& span : spans_) {
        in_order.push_back(&span);
    }
    std::ranges::sort(in_order, {}, [](const Span* span) { return span->started; });
    std::vector<TimePoint> rows;  // when the last task of each ended
    OrderedJson events = OrderedJson::array();
    for (const Span* span : in_order) {
        auto row =
            std::ranges::find_if(rows, [&](TimePoint ended) { return ended <= span->started; });
        if (row == rows.end()) {
            row = rows.insert(rows.end(), TimePoint{});
        }
        *row = span->ended;
        const std::int64_t start = microseconds(span->started - begin_);
        OrderedJson event;
        event["name"] = span->name;
        event["cat"] = "task";
        event["ph"] = "X";
        event["ts"] = start;
        event["dur"] = microseconds(span->ended - begin_) - start;
        event["pid"] = ::getpid();
        event["tid"] = static_cast<std::int64_t>(row - rows.begin());
        event["args"] = {{"status", to_string(span->status)},
                         {"attempts", span->attempts},
                         {"waited_us", microseconds(span->started - span->submitted)}};
        events.push_back(std::move(event));
    }
    OrderedJson trace;
    trace["displayTimeUnit"] = "ms";
    trace["traceEvents"] = std::move(events);
    return runtime::oci::dump(trace) + "\n";
}

}  // namespace pepita::compute::cli
