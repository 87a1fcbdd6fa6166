#include "runtime/cli/report.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/cli/command_line.h"
#include "runtime/rpc/log_json.h"
#include "runtime/state.h"

namespace pepita::runtime::cli {
namespace {

constexpr mode_t kLogMode = 0600;

}  // namespace

void report(const Command& command, std::string_view message) {
    std::string line = "pepita-run: ";
    if (command.verb != Verb::None) {
        line.append(to_string(command.verb));
        line.append(command.id.empty() ? "" : " '" + command.id + "'").append(": ");
    }
    line = printable(line.append(message));
    (void)write_all(FdRef(STDERR_FILENO), line + "\n", "standard error").has_value();
    if (command.log.empty()) {
        return;
    }
    // A log that cannot be written is no reason to fail once more: the line above was shown.
    const Fd log(::open(command.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kLogMode));
    if (log) {
        const std::string entry = command.log_format == Format::Json
                                      ? log_json("error", line, {})
                                      : log::format("error", line, {{"time", timestamp_now()}});
        (void)write_all(log.ref(), entry, command.log).has_value();
    }
}

void say(std::string_view message) {
    (void)write_all(FdRef(STDERR_FILENO), printable("pepita-run: " + std::string(message)) + "\n",
                    "standard error")
        .has_value();
}

bool print(std::string_view text) {
    return write_all(FdRef(STDOUT_FILENO), text, "standard output").has_value();
}

}  // namespace pepita::runtime::cli
