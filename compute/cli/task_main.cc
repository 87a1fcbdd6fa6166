#include <unistd.h>

#include <span>
#include <string>
#include <string_view>

#include "compute/cli/command_line.h"
#include "compute/cli/verbs.h"
#include "compute/command_lines.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"

namespace pepita::compute::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kOurs = 125;  // of run, whose other statuses are the command's

/// "pepita: task batch 'FILE': MESSAGE", in one line.
void report(const Command& command, std::string_view message) {
    std::string line = "pepita: task";
    if (const std::string_view verb = to_string(command.verb); !verb.empty()) {
        line.append(" ").append(verb);
        line.append(command.words.empty() ? "" : " '" + command.words.front() + "'");
    }
    line.append(": ").append(message);
    (void)write_all(FdRef(STDERR_FILENO), printable(line) + "\n", "standard error").has_value();
}

Result<int> perform(const Command& command) {
    switch (command.verb) {
        case Verb::Run:
            return run(command);
        case Verb::Batch:
            return batch(command);
        case Verb::Top:
            return top(command);
        case Verb::Help:
            TRY(write_all(FdRef(STDOUT_FILENO), help_text(command.topic), "standard output"));
            return 0;
        case Verb::None:
        case Verb::Line:
            break;
    }
    return Error(Code::Internal, "no command");
}

}  // namespace
}  // namespace pepita::compute::cli

namespace pepita::compute {

int task_main(std::span<const std::string> arguments) {
    cli::Command command;
    const Result<void> parsed = cli::parse_command_line(arguments, command);
    if (!parsed) {
        cli::report(command, parsed.error().message());
        return command.verb == cli::Verb::Run ? cli::kOurs : cli::kUsage;
    }
    const Result<int> status = cli::perform(command);
    if (!status) {
        cli::report(command, status.error().message());
        if (command.verb == cli::Verb::Run) {
            return cli::kOurs;
        }
        const bool is_input = status.error().code() == Code::InvalidArgument;
        return is_input ? cli::kUsage : cli::kFailed;
    }
    return *status;
}

}  // namespace pepita::compute
