#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "compute/fault/retry.h"
#include "compute/scheduler.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::compute {

/// 128 random bits.
struct TaskId {
    std::array<std::uint64_t, 2> bits{};
    friend bool operator==(const TaskId&, const TaskId&) = default;
};
/// 32 hexadecimal digits.
std::string to_string(const TaskId& id);

// NOLINTBEGIN(readability-redundant-member-init): without them g++ warns of designated
// initialisers.

/// What a process may use. Absent: as this process.
struct ResourceLimits {
    static constexpr Bytes kOutputMax = 1_MiB;

    std::optional<Bytes> address_space{};
    std::optional<std::chrono::seconds> cpu_time{};
    std::optional<std::uint64_t> open_files{};
    /// Of standard output and of standard error; what is more is read and dropped.
    Bytes output = kOutputMax;
    /// Processors that it may run on; empty: all.
    std::vector<std::size_t> processors{};
};

/// A program to run.
struct ProcessWork {
    std::string binary{};                    // looked for in PATH if there is no slash in it
    std::vector<std::string> arguments{};    // without the program's name
    std::vector<std::string> environment{};  // KEY=VALUE; nothing is inherited
    std::string directory{};                 // empty: this process's
    std::string input{};                     // what it reads from standard input
    /// What its standard input, output and errors are: pipes of the pool, or this process's own,
    /// with no `input` then and no output in the result.
    enum class Streams : std::uint8_t { Captured, Inherited } streams = Streams::Captured;
    /// Added to the nice value of this process: -20 to 19.
    int nice = 0;
    ResourceLimits limits{};
};

/// What a function gets for one attempt.
struct Attempt {
    Worker& worker;
    std::uint32_t number;  // 1 for the first
    /// Requested when the task is cancelled or out of time. A function that runs for long looks at
    /// it: nothing else can end it.
    std::stop_token stop;
};
/// Returns the task's output.
using FunctionWork = std::move_only_function<Result<std::string>(const Attempt&)>;

/// A unit of compute.
struct Task {
    std::variant<FunctionWork, ProcessWork> work{};
    Priority priority = Priority::Normal;
    /// From submission to result, all attempts and waits included.
    std::optional<Duration> timeout{};
    /// For each attempt.
    std::optional<Duration> attempt_timeout{};
    /// Whether an attempt that began may be repeated.
    bool idempotent = false;
    RetryPolicy retry{};
    /// Tasks of one circuit fail together: a breaker refuses them all while most fail. Empty: none.
    std::string circuit{};
};

enum class TaskStatus : std::uint8_t { Succeeded, Failed, TimedOut, Cancelled };
inline constexpr std::size_t kTaskStatuses = 4;
enum class Backend : std::uint8_t { Function, Process };

/// How a task ended.
struct ExecutionResult {
    TaskId id{};
    TaskStatus status = TaskStatus::Failed;
    Backend backend = Backend::Function;
    std::optional<ChildExit> exit{};  // of the last attempt's process
    std::string output{};
    std::string errors{};  // standard error
    bool output_truncated = false;
    bool errors_truncated = false;
    /// Why it did not succeed.
    std::string reason{};
    /// What kind of failure kept its last attempt from beginning, or the function returned.
    std::optional<Code> error{};
    std::uint32_t attempts = 0;
    std::chrono::microseconds user_time{};
    std::chrono::microseconds system_time{};
    Bytes resident_max{};
    TimePoint submitted{};
    TimePoint started{};  // the last attempt
    TimePoint ended{};
};

// NOLINTEND(readability-redundant-member-init)

}  // namespace pepita::compute
