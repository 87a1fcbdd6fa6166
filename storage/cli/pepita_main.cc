#include <signal.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "storage/cli/command_line.h"
#include "storage/cli/image_verbs.h"
#include "storage/cli/verbs.h"

namespace pepita::storage::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

/// "pepita: storage create 'x': MESSAGE", in one line.
void report(const Command& command, std::string_view message) {
    std::string line = "pepita: ";
    if (const std::string_view verb = to_string(command.verb); !verb.empty()) {
        line.append("storage ").append(verb);
        line.append(command.volume.name.empty() ? "" : " '" + command.volume.name + "'");
        line.append(": ");
    }
    line.append(message);
    for (char& c : line) {
        const auto byte = static_cast<unsigned char>(c);
        c = byte < ' ' || byte == 0x7f ? '?' : c;
    }
    // Where even standard error is gone, the exit status is left.
    (void)write_all(FdRef(STDERR_FILENO), line + "\n", "standard error").has_value();
}

int main(std::span<const std::string> arguments) {
    if (!arguments.empty() && arguments.front() == "image") {
        return image_main(arguments.subspan(1));
    }
    Command command;
    if (const Result<void> parsed = parse_command_line(arguments, command); !parsed) {
        report(command, parsed.error().message());
        return kUsage;
    }
    if (command.verb == Verb::Help) {
        return print(help_text(command.topic)) ? 0 : kFailed;
    }
    if (command.verb == Verb::Version) {
        return print("pepita " PEPITA_VERSION "\n") ? 0 : kFailed;
    }
    const Result<int> status = perform(command);
    if (!status) {
        report(command, status.error().message());
        return kFailed;
    }
    return *status;
}

}  // namespace
}  // namespace pepita::storage::cli

int main(int argc, char** argv) {
    (void)::signal(SIGPIPE, SIG_IGN);
    const std::span<char*> all(argv, static_cast<std::size_t>(argc));
    const std::vector<std::string> arguments(all.begin() + (argc > 0 ? 1 : 0), all.end());
    return pepita::storage::cli::main(arguments);
}
