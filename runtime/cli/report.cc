#include "runtime/cli/report.h"

#include <unistd.h>

#include <string>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/cli/command_line.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/log_json.h"
#include "runtime/state.h"

namespace pepita::runtime::cli {
namespace {

std::string line_of(const Command& command, std::string_view message) {
    std::string line = "pepita-run: ";
    if (command.verb != Verb::None) {
        line.append(to_string(command.verb));
        line.append(command.id.empty() ? "" : " '" + command.id + "'").append(": ");
    }
    return printable(line.append(message));
}

// check_log() has made it. One that cannot be written meanwhile is no reason to fail.
void append_to_log(const Command& command, std::string_view level, std::string_view line) {
    if (command.log.empty()) {
        return;
    }
    if (const Result<Fd> log = open_to_append(command.log, kLogMode)) {
        const std::string entry = command.pod.log_format == LogFormat::Json
                                      ? log_json(level, line, {})
                                      : log::format(level, line, {{"time", timestamp_now()}});
        (void)write_all(log->ref(), entry, command.log).has_value();
    }
}

}  // namespace

void report(const Command& command, std::string_view message) {
    const std::string line = line_of(command, message);
    (void)write_all(FdRef(STDERR_FILENO), line + "\n", "standard error").has_value();
    append_to_log(command, "error", line);
}

void note(const Command& command, std::string_view message) {
    const std::string line = line_of(command, message);
    if (command.verb == Verb::Run && !command.detach && ::isatty(STDERR_FILENO) == 1) {
        (void)write_all(FdRef(STDERR_FILENO), line + "\n", "standard error").has_value();
    }
    append_to_log(command, "info", line);
}

Result<void> check_log(const Command& command) {
    if (!command.log.empty()) {
        TRY(open_to_append(command.log, kLogMode), "option '--log'");
    }
    return {};
}

bool print(std::string_view text) {
    return write_all(FdRef(STDOUT_FILENO), text, "standard output").has_value();
}

}  // namespace pepita::runtime::cli
