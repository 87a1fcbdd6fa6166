#include "compute/cli/command_line.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compute/scheduler.h"
#include "compute/task.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/options.h"
#include "runtime/rpc/quantities.h"
#include "runtime/rpc/verb_table.h"

namespace pepita::compute::cli {
namespace {

using runtime::action;
using runtime::apply_options;
using runtime::bit;
using runtime::Choice;
using runtime::Flag;
using runtime::List;
using runtime::Maybe;
using runtime::Member;
using runtime::Named;
using runtime::Number;
using runtime::option;
using runtime::Size;
using runtime::Text;
using runtime::Time;
using runtime::usage_error;
using runtime::verb_rule;
using runtime::VerbRule;
using Rule = runtime::OptionRule<Command>;

constexpr auto kVerbs = std::to_array<VerbRule<Verb>>({
    verb_rule(Verb::Run, "run", "COMMAND...",
              "run a command, and end with its status; options go before it"),
    verb_rule(Verb::Batch, "batch", "FILE",
              "run the tasks of a file, a JSON object a line, going on where an earlier run ended"),
    verb_rule(Verb::Top, "top", "FILE", "show what a running batch does"),
});
constexpr std::span<const VerbRule<Verb>> kVerbRules = kVerbs;

Result<void> set_help(Command& command, std::string_view /*value*/) {
    command.topic = std::exchange(command.verb, Verb::Help);
    return {};
}

constexpr std::array kPriorityNames{Named{.name = "high", .value = Priority::High},
                                    Named{.name = "normal", .value = Priority::Normal},
                                    Named{.name = "low", .value = Priority::Low},
                                    Named{.name = "idle", .value = Priority::Idle}};

/// "0/4" to "3/4".
struct ShardText {
    static constexpr std::uint32_t kCountMax = 100'000;
    static Result<void> parse(Shard& into, std::string_view text) {
        const std::size_t slash = text.find('/');
        if (slash == std::string_view::npos) {
            return usage_error("must be K/N, from 0/N to N-1/N");
        }
        const std::uint64_t count =
            TRY(runtime::parse_number(text.substr(slash + 1), 1, kCountMax));
        const std::uint64_t index = TRY(runtime::parse_number(text.substr(0, slash), 0, count - 1));
        into = {.index = static_cast<std::uint32_t>(index),
                .count = static_cast<std::uint32_t>(count)};
        return {};
    }
    static void print(const Shard& from, std::vector<std::string>& values) {
        values.push_back(std::to_string(from.index) + "/" + std::to_string(from.count));
    }
};

/// "NAME=VALUE"
struct Variable : Text {
    static Result<void> parse(std::string& into, std::string_view text) {
        const std::size_t equals = text.find('=');
        if (equals == 0 || equals == std::string_view::npos) {
            return usage_error("must be NAME=VALUE");
        }
        into = text;
        return {};
    }
};

/// Whole seconds, as the kernel counts them.
struct Seconds : Time {
    static Result<void> parse(std::chrono::milliseconds& into, std::string_view text) {
        const std::chrono::milliseconds value = TRY(runtime::parse_time(text));
        if (value % std::chrono::seconds(1) != std::chrono::milliseconds(0)) {
            return usage_error("must be whole seconds");
        }
        into = value;
        return {};
    }
};

constexpr std::uint32_t kTask = bit(Verb::Run) | bit(Verb::Batch) | bit(Verb::Line);
constexpr std::uint32_t kRuns = bit(Verb::Run) | bit(Verb::Batch);
constexpr std::uint64_t kOpenFilesMax = 1U << 20U;
constexpr std::uint32_t kRetriesMax = RetryPolicy::kAttemptsMax - 1;
constexpr std::uint32_t kWorkersMax = Scheduler::Options::kWorkersMax;

template <auto Inner>
using OfTask = Member<&Command::task, Inner>;

constexpr auto kOptions = std::to_array<Rule>({
    option<OfTask<&TaskOptions::priority>, Choice<kPriorityNames>>(
        {.name = "priority",
         .value_name = "PRIORITY",
         .help = "high, normal, low (nice 10) or idle (nice 19): what waits longest to start",
         .verbs = kTask}),
    option<OfTask<&TaskOptions::timeout>, Maybe<Time>>(
        {.name = "timeout",
         .value_name = "TIME",
         .help = "500ms, 10s, 5m or 1h for all attempts, after which it is killed",
         .verbs = kTask}),
    option<OfTask<&TaskOptions::attempt_timeout>, Maybe<Time>>({.name = "attempt-timeout",
                                                                .value_name = "TIME",
                                                                .help = "for each attempt",
                                                                .verbs = kTask}),
    option<OfTask<&TaskOptions::retries>, Number<0, kRetriesMax>>(
        {.name = "retries",
         .value_name = "N",
         .help = "how often it may run again if it fails (default: 0)",
         .verbs = kTask}),
    option<OfTask<&TaskOptions::memory>, Maybe<Size>>(
        {.name = "memory",
         .value_name = "SIZE",
         .help = "address space of each of its processes: bytes, or with K, M, G, T",
         .verbs = kTask}),
    option<OfTask<&TaskOptions::cpu_time>, Maybe<Seconds>>(
        {.name = "cpu-time",
         .value_name = "TIME",
         .help = "processor time of each of its processes, in whole seconds",
         .verbs = kTask}),
    option<OfTask<&TaskOptions::open_files>, Maybe<Number<3, kOpenFilesMax>>>(
        {.name = "open-files",
         .value_name = "N",
         .help = "descriptors of each of its processes",
         .verbs = kTask}),
    option<OfTask<&TaskOptions::directory>, Text>({.name = "directory",
                                                   .value_name = "PATH",
                                                   .help = "where it runs (default: here)",
                                                   .verbs = kTask}),
    option<OfTask<&TaskOptions::environment>, List<Variable>>(
        {.name = "env",
         .letter = 'e',
         .value_name = "NAME=VALUE",
         .help = "a variable beside those of this process",
         .verbs = kTask}),
    option<&Command::shard, ShardText>(
        {.name = "shard",
         .value_name = "K/N",
         .help = "only tasks K, K+N, K+2N, ... of the file, counted from 0",
         .verbs = bit(Verb::Batch) | bit(Verb::Top)}),
    option<&Command::workers, Number<1, kWorkersMax>>(
        {.name = "workers",
         .value_name = "N",
         .help = "tasks at a time (default: as many as processors)",
         .verbs = bit(Verb::Batch)}),
    option<&Command::fresh, Flag>({.name = "fresh",
                                   .help = "run all tasks, and forget what an earlier run has done",
                                   .verbs = bit(Verb::Batch)}),
    option<&Command::metrics, Text>({.name = "metrics",
                                     .value_name = "FILE",
                                     .help = "write Prometheus' text format, each second",
                                     .verbs = kRuns}),
    option<&Command::trace, Text>({.name = "trace",
                                   .value_name = "FILE",
                                   .help = "write a trace for chrome://tracing at the end",
                                   .verbs = kRuns}),
    option<&Command::once, Flag>({.name = "once",
                                  .help = "print it once; so it is without a terminal",
                                  .verbs = bit(Verb::Top)}),
    option<&Command::interval_s, Number<1, Command::kIntervalMax>>(
        {.name = "interval",
         .value_name = "SECONDS",
         .help = "between two views (default: 1)",
         .verbs = bit(Verb::Top)}),
    action<Command>({.name = "help",
                     .letter = 'h',
                     .help = "print this",
                     .verbs = kRuns | bit(Verb::Top) | bit(Verb::None)},
                    set_help),
});
constexpr std::span<const Rule> kRules = kOptions;

int nice_of(Priority priority) {
    constexpr int low = 10;
    constexpr int idle = 19;
    return priority == Priority::Idle ? idle : priority == Priority::Low ? low : 0;
}

/// This process's, with these in place of those of the same name.
std::vector<std::string> environment_with(const std::vector<std::string>& variables) {
    std::vector<std::string> all;
    for (char** each = environ; *each != nullptr; ++each) {
        const std::string_view variable(*each);
        const std::string_view name = variable.substr(0, variable.find('=') + 1);
        if (std::ranges::none_of(
                variables, [name](const std::string& given) { return given.starts_with(name); })) {
            all.emplace_back(variable);
        }
    }
    all.insert(all.end(), variables.begin(), variables.end());
    return all;
}

}  // namespace

std::string_view to_string(Verb verb) { return runtime::name_of(kVerbRules, verb); }

Result<void> parse_command_line(std::span<const std::string> arguments, Command& command) {
    if (arguments.empty()) {
        return usage_error("no task command given; try --help");
    }
    const VerbRule<Verb>* const rule = runtime::rule_named(kVerbRules, arguments.front());
    if (rule == nullptr) {
        if (runtime::is_option(arguments.front())) {
            TRY(apply_options(arguments.first(1), kRules, bit(Verb::None), command));
            return {};
        }
        return usage_error("unknown task command '" + arguments.front() + "'; try --help");
    }
    command.verb = rule->verb;
    const std::size_t own_words = rule->verb == Verb::Run ? 1 : SIZE_MAX;
    command.words =
        TRY(apply_options(arguments.subspan(1), kRules, bit(rule->verb), command, own_words));
    if (command.verb == Verb::Help) {
        return {};
    }
    if (command.words.empty()) {
        return usage_error("needs " + std::string(rule->arguments));
    }
    if (rule->verb != Verb::Run && command.words.size() > 1) {
        return usage_error("unexpected argument '" + command.words[1] + "'");
    }
    return {};
}

Result<void> apply_task_option(TaskOptions& options, std::string_view name,
                               std::string_view value) {
    const auto rule = std::ranges::find_if(kRules, [name](const Rule& candidate) {
        // As identifiers are written in JSON: cpu_time for --cpu-time.
        return (candidate.verbs & bit(Verb::Line)) != 0 &&
               std::ranges::equal(candidate.name, name, [](char option, char member) {
                   return member == (option == '-' ? '_' : option);
               });
    });
    if (rule == kRules.end()) {
        return Error(Code::NotFound, "is not known");
    }
    Command command;
    command.task = std::move(options);
    const Result<void> applied = rule->apply(command, value);
    options = std::move(command.task);
    return applied ? Result<void>() : usage_error(applied.error().message());
}

std::string help_text(Verb topic) {
    return runtime::help_of(kVerbRules, kRules, topic,
                            {.program = "pepita task",
                             .what = "Runs commands as tasks, with limits, timeouts and retries.",
                             .end = "Each command says more with --help."});
}

Task make_task(const std::vector<std::string>& words, const TaskOptions& options,
               ProcessWork::Streams streams, std::string input) {
    using std::chrono::duration_cast;
    ProcessWork work{.binary = words.front(),
                     .arguments = {words.begin() + 1, words.end()},
                     .environment = environment_with(options.environment),
                     .directory = options.directory,
                     .input = std::move(input),
                     .streams = streams,
                     .nice = nice_of(options.priority)};
    work.limits.address_space = options.memory;
    work.limits.open_files = options.open_files;
    if (options.cpu_time) {
        work.limits.cpu_time = duration_cast<std::chrono::seconds>(*options.cpu_time);
    }
    Task task{.work = std::move(work), .priority = options.priority};
    task.timeout = options.timeout;
    task.attempt_timeout = options.attempt_timeout;
    task.idempotent = options.retries != 0;
    task.retry.attempts = options.retries + 1;
    return task;
}

}  // namespace pepita::compute::cli
