#include "compute/cli/command_line.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "test/support/golden.h"

namespace pepita::compute::cli {
namespace {

using std::chrono::milliseconds;
using Words = std::vector<std::string>;

Command parsed(const Words& arguments) {
    Command command;
    const auto result = parse_command_line(arguments, command);
    EXPECT_TRUE(result) << result.error().message();
    return command;
}

std::string refused(const Words& arguments) {
    Command command;
    const auto result = parse_command_line(arguments, command);
    EXPECT_FALSE(result);
    return result ? "" : result.error().message();
}

TEST(TaskCommandLine, WhatIsBehindTheFirstWordIsTheCommands) {
    const Command command =
        parsed({"run", "--priority", "low", "--timeout=5m", "--retries", "2", "--memory", "64M",
                "--cpu-time", "3s", "-e", "A=1", "-e", "B=", "sh", "--timeout", "x"});
    EXPECT_EQ(command.verb, Verb::Run);
    EXPECT_EQ(command.words, (Words{"sh", "--timeout", "x"}));
    EXPECT_EQ(command.task, (TaskOptions{.priority = Priority::Low,
                                         .timeout = milliseconds(300'000),
                                         .attempt_timeout = {},
                                         .retries = 2,
                                         .memory = 64_MiB,
                                         .cpu_time = milliseconds(3000),
                                         .open_files = {},
                                         .directory = {},
                                         .environment = {"A=1", "B="}}));
    EXPECT_EQ(parsed({"run", "--", "-x", "--", "y"}).words, (Words{"-x", "--", "y"}));
}

TEST(TaskCommandLine, AShardIsCountedFromZero) {
    EXPECT_EQ(parsed({"batch", "--shard", "3/4", "f"}).shard, (Shard{.index = 3, .count = 4}));
    EXPECT_EQ(refused({"batch", "--shard", "4/4", "f"}),
              "option '--shard': must be a whole number from 0 to 3");
    EXPECT_EQ(refused({"batch", "--shard", "1", "f"}),
              "option '--shard': must be K/N, from 0/N to N-1/N");
    EXPECT_EQ(refused({"batch", "--shard", "0/0", "f"}),
              "option '--shard': must be a whole number from 1 to 100000");
}

TEST(TaskCommandLine, WhatIsWrongIsNamed) {
    EXPECT_EQ(refused({}), "no task command given; try --help");
    EXPECT_EQ(refused({"fly"}), "unknown task command 'fly'; try --help");
    EXPECT_EQ(refused({"run"}), "needs COMMAND...");
    EXPECT_EQ(refused({"batch"}), "needs FILE");
    EXPECT_EQ(refused({"batch", "a", "b"}), "unexpected argument 'b'");
    EXPECT_EQ(refused({"run", "--timeout", "0", "true"}),
              "option '--timeout': must be a time above 0, such as 500ms, 10s, 5m or 1h");
    EXPECT_EQ(refused({"run", "--cpu-time", "1500ms", "true"}),
              "option '--cpu-time': must be whole seconds");
    EXPECT_EQ(refused({"run", "--retries", "100", "true"}),
              "option '--retries': must be a whole number from 0 to 99");
    EXPECT_EQ(refused({"run", "--priority", "top", "true"}),
              "option '--priority': must be high, normal, low or idle");
    EXPECT_EQ(refused({"run", "-e", "=1", "true"}), "option '-e': must be NAME=VALUE");
    EXPECT_EQ(refused({"batch", "--workers", "257", "f"}),
              "option '--workers': must be a whole number from 1 to 256");
    EXPECT_EQ(refused({"run", "--shard", "0/2", "true"}), "unknown option '--shard'");
}

TEST(TaskCommandLine, ALineHasTheOptionsOfATask) {
    TaskOptions options;
    EXPECT_TRUE(apply_task_option(options, "cpu_time", "7"));
    EXPECT_EQ(options.cpu_time, milliseconds(7000));
    for (const char* none : {"cpu-time", "shard", "fresh", "help", ""}) {
        const auto applied = apply_task_option(options, none, "1");
        ASSERT_FALSE(applied) << none;
        EXPECT_EQ(applied.error().code(), Code::NotFound) << none;
    }
}

TEST(TaskCommandLine, ATaskHasAllThatWasAskedFor) {
    const TaskOptions options{.priority = Priority::Idle,
                              .timeout = milliseconds(5),
                              .attempt_timeout = milliseconds(4),
                              .retries = 3,
                              .memory = 1_MiB,
                              .cpu_time = milliseconds(2000),
                              .open_files = 16,
                              .directory = "/tmp",
                              .environment = {"PATH=/nowhere"}};
    const Task task = make_task({"a", "b"}, options, ProcessWork::Streams::Captured, "text");
    EXPECT_EQ(task.priority, Priority::Idle);
    EXPECT_EQ(task.timeout, milliseconds(5));
    EXPECT_EQ(task.attempt_timeout, milliseconds(4));
    EXPECT_EQ(task.retry.attempts, 4U);
    EXPECT_TRUE(task.idempotent);
    const auto& work = std::get<ProcessWork>(task.work);
    EXPECT_EQ(work.binary, "a");
    EXPECT_EQ(work.arguments, Words{"b"});
    EXPECT_EQ(work.directory, "/tmp");
    EXPECT_EQ(work.input, "text");
    EXPECT_EQ(work.nice, 19);
    EXPECT_EQ(work.limits.address_space, 1_MiB);
    EXPECT_EQ(work.limits.cpu_time, std::chrono::seconds(2));
    EXPECT_EQ(work.limits.open_files, 16U);
    std::size_t paths = 0;
    for (const std::string& variable : work.environment) {
        paths += variable.starts_with("PATH=") ? 1U : 0U;
    }
    EXPECT_EQ(paths, 1U);
    EXPECT_EQ(work.environment.back(), "PATH=/nowhere");
}

TEST(TaskCommandLine, HelpSaysWhatThereIs) {
    std::string all = help_text(Verb::None);
    for (const Verb verb : {Verb::Run, Verb::Batch, Verb::Top}) {
        all += "\n" + help_text(verb);
    }
    test::expect_golden("compute/help.txt", all);
    EXPECT_EQ(parsed({"--help"}).verb, Verb::Help);
    EXPECT_EQ(parsed({"batch", "-h"}).topic, Verb::Batch);
}

}  // namespace
}  // namespace pepita::compute::cli
