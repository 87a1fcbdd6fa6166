#include "compute/cli/task_file.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace pepita::compute::cli {
namespace {

using std::chrono::milliseconds;

TaskOptions low() {
    TaskOptions options;
    options.priority = Priority::Low;
    return options;
}

std::string refused(const std::string& text) {
    const auto file = parse_task_file(text, {});
    EXPECT_FALSE(file);
    return file ? "" : file.error().message();
}

TEST(TaskFile, ALineHasACommandAndItsOptions) {
    const auto file = parse_task_file(
        "{\"command\": [\"sort\", \"-u\"]}\n\n"
        "{\"command\": [\"cat\"], \"name\": \"c\", \"input\": \"a\\u0000b\", \"timeout\": \"10s\","
        " \"retries\": 2, \"env\": [\"A=1\", \"B=2\"]}",
        low());
    ASSERT_TRUE(file) << file.error().message();
    ASSERT_EQ(file->tasks.size(), 2U);
    EXPECT_EQ(file->tasks[0].line, 1U);
    EXPECT_EQ(file->tasks[0].command, (std::vector<std::string>{"sort", "-u"}));
    EXPECT_EQ(file->tasks[0].options, low());
    EXPECT_EQ(file->tasks[1].line, 3U);
    EXPECT_EQ(file->tasks[1].name, "c");
    EXPECT_EQ(file->tasks[1].input, std::string("a\0b", 3));
    EXPECT_EQ(file->tasks[1].options.timeout, milliseconds(10'000));
    EXPECT_EQ(file->tasks[1].options.retries, 2U);
    EXPECT_EQ(file->tasks[1].options.environment, (std::vector<std::string>{"A=1", "B=2"}));
}

TEST(TaskFile, ABrokenLineIsNamedWithItsColumn) {
    std::string good;
    for (int i = 0; i < 6; ++i) {
        good += "{\"command\": [\"true\"]}\n";
    }
    EXPECT_EQ(refused(good + "{\"command\": [\"true\"] 1}\n" + good),
              "line 7, column 22: not JSON");
    EXPECT_EQ(refused(good + "{"), "line 7, column 1: not JSON");
    EXPECT_EQ(refused(good + "[]"), "line 7: must be an object");
    EXPECT_EQ(refused(good + "{}"), "line 7: command: is missing");
    EXPECT_EQ(refused(good + R"({"command": []})"), "line 7: command: must name a program");
    EXPECT_EQ(refused(good + R"({"command": [""]})"), "line 7: command: must name a program");
    EXPECT_EQ(refused(good + R"({"command": [1]})"), "line 7: command[0]: must be a string");
    EXPECT_EQ(refused(good + R"({"command": ["a"], "input": 1})"),
              "line 7: input: must be a string");
    EXPECT_EQ(refused(good + R"({"command": ["a"], "x": "1"})"),
              "line 7: member 'x': is not known");
    EXPECT_EQ(refused(good + R"({"command": ["a"], "timeout": 0})"),
              "line 7: member 'timeout': must be a time above 0, such as 500ms, 10s, 5m or 1h");
    EXPECT_EQ(refused(good + R"({"command": ["a"], "timeout": {}})"),
              "line 7: timeout: must be a string");
    EXPECT_EQ(refused(good + R"({"command": ["a"], "env": [["A=1"]]})"),
              "line 7: env: must be a string");
}

TEST(TaskFile, AChangedFileHasAnotherFingerprint) {
    const auto one = parse_task_file("{\"command\": [\"a\"]}\n", {});
    const auto other = parse_task_file("{\"command\": [\"b\"]}\n", {});
    ASSERT_TRUE(one);
    ASSERT_TRUE(other);
    EXPECT_NE(one->fingerprint, other->fingerprint);
}

TEST(TaskFile, ShardsHaveEachTaskOnce) {
    std::vector<TaskLine> tasks(7);
    for (std::uint32_t i = 0; i < 7; ++i) {
        tasks[i].line = i + 1;
    }
    const auto lines = [&](std::uint32_t index) {
        std::vector<std::uint32_t> of;
        for (const TaskLine& task : tasks_of(tasks, {.index = index, .count = 3})) {
            of.push_back(task.line);
        }
        return of;
    };
    EXPECT_EQ(lines(0), (std::vector<std::uint32_t>{1, 4, 7}));
    EXPECT_EQ(lines(1), (std::vector<std::uint32_t>{2, 5}));
    EXPECT_EQ(lines(2), (std::vector<std::uint32_t>{3, 6}));
}

}  // namespace
}  // namespace pepita::compute::cli
