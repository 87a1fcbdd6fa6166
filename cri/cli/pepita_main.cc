#include <signal.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compute/command_lines.h"
#include "cri/cli/node_command_line.h"
#include "cri/cli/node_verbs.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "storage/command_lines.h"

namespace pepita::cri::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

/// "pepita: stop 'web': MESSAGE", in one line.
void report(const NodeCommand& command, std::string_view message) {
    std::string line = "pepita: ";
    if (const std::string_view verb = to_string(command.verb); !verb.empty()) {
        line.append(verb);
        line.append(command.words.size() == 1 ? " '" + command.words[0] + "'" : "").append(": ");
    }
    (void)write_all(FdRef(STDERR_FILENO), printable(line.append(message)) + "\n", "standard error")
        .has_value();
}

int say(const std::string& text) {
    return write_all(FdRef(STDOUT_FILENO), text, "standard output") ? 0 : kFailed;
}

int node_main(std::span<const std::string> arguments) {
    NodeCommand command;
    if (const Result<void> parsed = parse_node_command_line(arguments, command); !parsed) {
        report(command, parsed.error().message());
        return kUsage;
    }
    if (command.verb == NodeVerb::Help) {
        return say(node_help_text(command.topic));
    }
    if (command.verb == NodeVerb::Version) {
        return say("pepita " PEPITA_VERSION "\n");
    }
    const Result<int> status = perform(command);
    if (!status) {
        report(command, status.error().message());
        return kFailed;
    }
    return *status;
}

int main(std::span<const std::string> arguments) {
    if (!arguments.empty() && arguments.front() == "image") {
        return storage::image_main(arguments.subspan(1));
    }
    if (!arguments.empty() && arguments.front() == "storage") {
        return storage::storage_main(arguments);
    }
    if (!arguments.empty() && arguments.front() == "task") {
        return compute::task_main(arguments.subspan(1));
    }
    return node_main(arguments);
}

}  // namespace
}  // namespace pepita::cri::cli

int main(int argc, char** argv) {
    (void)::signal(SIGPIPE, SIG_IGN);
    const std::span<char*> all(argv, static_cast<std::size_t>(argc));
    const std::vector<std::string> arguments(all.begin() + (argc > 0 ? 1 : 0), all.end());
    return pepita::cri::cli::main(arguments);
}
