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
#include "storage/command_lines.h"

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

}  // namespace
}  // namespace pepita::storage::cli

namespace pepita::storage {

int storage_main(std::span<const std::string> arguments) {
    using cli::kFailed;
    using cli::print;
    using cli::Verb;
    cli::Command command;
    if (const Result<void> parsed = cli::parse_command_line(arguments, command); !parsed) {
        cli::report(command, parsed.error().message());
        return cli::kUsage;
    }
    if (command.verb == Verb::Help) {
        return print(cli::help_text(command.topic)) ? 0 : kFailed;
    }
    if (command.verb == Verb::Version) {
        return print("pepita " PEPITA_VERSION "\n") ? 0 : kFailed;
    }
    const Result<int> status = cli::perform(command);
    if (!status) {
        cli::report(command, status.error().message());
        return kFailed;
    }
    return *status;
}

int image_main(std::span<const std::string> arguments) { return cli::image_main(arguments); }

}  // namespace pepita::storage
