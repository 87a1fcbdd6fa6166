#include "compute/cli/task_result.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "kernel-abi/sys/error.h"

namespace pepita::compute::cli {
namespace {

using std::chrono::milliseconds;

ExecutionResult ended(TaskStatus status, int exit) {
    ExecutionResult result;
    result.status = status;
    result.exit = ChildExit{.by_signal = false, .value = exit};
    result.attempts = 2;
    result.submitted = TimePoint(milliseconds(1000));
    result.started = TimePoint(milliseconds(1250));
    result.ended = TimePoint(milliseconds(3000));
    return result;
}

TEST(TaskResult, IsOneLineThatALaterRunReads) {
    ExecutionResult result = ended(TaskStatus::Failed, 3);
    result.reason = "exit status 3";
    result.output = "a\nb\xff";
    result.output_truncated = true;
    TaskLine task;
    task.line = 7;
    task.name = "seven";
    const std::string line = result_line(task, result);
    EXPECT_EQ(line,
              "{\"line\":7,\"name\":\"seven\",\"status\":\"failed\",\"exit\":3,"
              "\"reason\":\"exit status 3\",\"attempts\":2,\"wait_ms\":250,\"run_ms\":1750,"
              "\"user_ms\":0,\"system_ms\":0,\"resident_bytes\":0,\"output\":\"a\\nb\xef\xbf\xbd\","
              "\"errors\":\"\",\"output_truncated\":true}\n");
    const auto read = parse_result_line(line);
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(*read, (EndedTask{.line = 7, .status = TaskStatus::Failed, .attempts = 2}));
}

TEST(TaskResult, WhatIsNoResultIsRefused) {
    for (const char* bad :
         {"", "{}", "7", R"({"line":1,"status":"fine","attempts":1})",
          R"({"line":-1,"status":"failed","attempts":1})", R"({"line":1,"status":"failed"})",
          R"({"line":4294967296,"status":"failed","attempts":1})"}) {
        EXPECT_FALSE(parse_result_line(bad)) << bad;
    }
}

TEST(TaskResult, StatusesAreThoseOfAShell) {
    EXPECT_EQ(exit_status(ended(TaskStatus::Succeeded, 0)), 0);
    EXPECT_EQ(exit_status(ended(TaskStatus::Failed, 3)), 3);
    EXPECT_EQ(exit_status(ended(TaskStatus::TimedOut, 3)), 124);
    ExecutionResult result = ended(TaskStatus::Failed, 0);
    result.exit = ChildExit{.by_signal = true, .value = 9};
    EXPECT_EQ(exit_status(result), 137);
    result.exit.reset();
    EXPECT_EQ(exit_status(result), 125);
    result.error = Code::PermissionDenied;
    EXPECT_EQ(exit_status(result), 126);
    result.error = Code::NotFound;
    EXPECT_EQ(exit_status(result), 127);
}

}  // namespace
}  // namespace pepita::compute::cli
