#include "runtime/cli/report.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "runtime/cli/command_line.h"
#include "runtime/log_json.h"
#include "runtime/state.h"

namespace pepita::runtime::cli {
namespace {

constexpr mode_t kLogMode = 0600;

bool write_all(FdRef file, std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(file.number(), text.data(), text.size());
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

/// Messages may hold words of a peer or a file.
std::string on_one_line(std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < ' ' || byte == 0x7f) {
            out.append("\\x").append(1, hex[byte >> 4U]).append(1, hex[byte & 0xfU]);
        } else {
            out.push_back(c);
        }
    }
    return out;
}

}  // namespace

void report(const Command& command, std::string_view message) {
    std::string line = "pepita-run: ";
    if (command.verb != Verb::None) {
        line.append(to_string(command.verb));
        line.append(command.id.empty() ? "" : " '" + command.id + "'").append(": ");
    }
    line = on_one_line(line.append(message));
    (void)write_all(FdRef(STDERR_FILENO), line + "\n");
    if (command.log.empty()) {
        return;
    }
    // A log that cannot be written is no reason to fail once more: the line above was shown.
    const Fd log(::open(command.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kLogMode));
    if (log) {
        (void)write_all(log.ref(), command.log_format == Format::Json
                                       ? log_json("error", line, {})
                                       : log::format("error", line, {{"time", timestamp_now()}}));
    }
}

void say(std::string_view message) {
    (void)write_all(FdRef(STDERR_FILENO),
                    on_one_line("pepita-run: " + std::string(message)) + "\n");
}

bool print(std::string_view text) { return write_all(FdRef(STDOUT_FILENO), text); }

}  // namespace pepita::runtime::cli
