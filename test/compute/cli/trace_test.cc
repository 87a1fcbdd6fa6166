#include "compute/cli/trace.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "runtime/rpc/json.h"

namespace pepita::compute::cli {
namespace {

using std::chrono::milliseconds;

ExecutionResult ran(int from_ms, int to_ms) {
    ExecutionResult result;
    result.status = TaskStatus::Succeeded;
    result.attempts = 1;
    result.submitted = TimePoint(milliseconds(0));
    result.started = TimePoint(milliseconds(from_ms));
    result.ended = TimePoint(milliseconds(to_ms));
    return result;
}

TaskLine named(const std::string& name) {
    TaskLine line;
    line.name = name;
    line.command = {"true"};
    return line;
}

TEST(TaskTrace, ARowHasTasksThatRanOneAfterTheOther) {
    Trace trace(TimePoint(milliseconds(0)));
    trace.add(named("b"), ran(2, 4));
    trace.add(named(""), ran(1, 3));
    trace.add(named("c"), ran(3, 5));
    ExecutionResult never;
    trace.add(named("never"), never);
    const auto json = runtime::oci::parse_json(trace.json());
    ASSERT_TRUE(json) << json.error().message();
    std::string rows;
    for (const auto& event : (*json)["traceEvents"]) {
        rows += event["name"].get<std::string>() + ":" + std::to_string(event["tid"].get<int>()) +
                "@" + std::to_string(event["ts"].get<int>()) + "+" +
                std::to_string(event["dur"].get<int>()) + " ";
    }
    EXPECT_EQ(rows, "true:0@1000+2000 b:1@2000+2000 c:0@3000+2000 ");
}

}  // namespace
}  // namespace pepita::compute::cli
