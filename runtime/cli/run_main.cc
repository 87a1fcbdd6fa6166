#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/process_io.h"
#include "runtime/cli/report.h"
#include "runtime/cli/verbs.h"

namespace pepita::runtime::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

/// run and exec pass statuses of processes through: theirs must not look like one.
bool passes_status(const Command& command) {
    return command.verb == Verb::Run || command.verb == Verb::Exec;
}

/// A shim works in another directory than we do.
void make_absolute(std::string& path) {
    std::error_code ignored;  // without a working directory, relative paths name nothing anyway
    if (!path.empty()) {
        path = std::filesystem::absolute(path, ignored).string();
    }
}

/// Descriptors 0 to 2 always mean the standard streams, even where the caller closed them.
void open_standard_streams() {
    int opened = 0;
    do {
        opened = ::open("/dev/null", O_RDWR);
    } while (opened >= 0 && opened <= STDERR_FILENO);
    (void)::close(opened);
}

Result<int> perform(const Command& command) {
    switch (command.verb) {
        case Verb::Run:
            return run(command);
        case Verb::Create:
            return create(command);
        case Verb::Start:
            return start(command);
        case Verb::Exec:
            return exec(command);
        case Verb::Kill:
            return kill(command);
        case Verb::Delete:
            return remove(command);
        case Verb::State:
            return state(command);
        case Verb::List:
            return list(command);
        case Verb::Pause:
            return pause(command);
        case Verb::Resume:
            return resume(command);
        case Verb::Ps:
            return ps(command);
        case Verb::Update:
            return update(command);
        case Verb::Events:
            return events(command);
        case Verb::Spec:
            return spec(command);
        case Verb::Features:
            return print(features_json(PEPITA_VERSION)) ? 0 : kFailed;
        case Verb::Help:
            return print(help_text(command.topic)) ? 0 : kFailed;
        case Verb::Version:
            return print("pepita-run version " PEPITA_VERSION "\nspec: 1.2.0\n") ? 0 : kFailed;
        case Verb::None:
            break;
    }
    return Error(Code::Internal, "no command");
}

int main(std::span<const std::string> arguments) {
    Command command;
    const auto parsed = parse_command_line(arguments, command);
    if (!parsed) {
        report(command, parsed.error().message());
        return passes_status(command) ? kOurFailure : kUsage;
    }
    for (std::string* path : {&command.root, &command.pod.data, &command.log, &command.shim,
                              &command.pod.guest_console}) {
        make_absolute(*path);
    }
    Result<void> log = check_log(command);
    const Result<int> status = log ? perform(command) : std::move(log).error();
    if (!status) {
        report(command, status.error().message());
        return passes_status(command) ? kOurFailure : kFailed;
    }
    return *status;
}

}  // namespace
}  // namespace pepita::runtime::cli

int main(int argc, char** argv) {
    pepita::runtime::cli::open_standard_streams();
    const std::span<char*> all(argv, static_cast<std::size_t>(argc));
    const std::vector<std::string> arguments(all.begin() + (argc > 0 ? 1 : 0), all.end());
    return pepita::runtime::cli::main(arguments);
}
