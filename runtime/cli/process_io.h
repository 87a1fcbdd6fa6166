#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/shim_link.h"
#include "runtime/container.h"
#include "runtime/proxy.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {

/// Exit statuses of run and exec that are not the process's own.
inline constexpr int kOurFailure = 125;
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;

/// Whether the command line fits the process: a terminal that nobody would hold is refused, and so
/// is a console socket without a terminal.
Result<void> check_console(const Command& command, Terminal terminal, bool is_detached);

/// The streams that a process gets: the console socket, or our own.
Result<TaskIo> make_io(const Command& command, Terminal terminal);

/// Hands the proxy's end of the socket, and its pid, to the shim.
void attach_proxy(TaskIo& io, Proxy& proxy);

/// Writes the proxy's pid to --pid-file, which appears with its content, and sends a pidfd of the
/// proxy to --pidfd-socket, if the command line has them.
Result<void> announce_pid(const Command& command, const Child& proxy);

/// What to do about a start's answer: nothing, or the message and the exit status of a program that
/// could not be executed.
struct ExecFailure {
    std::string message;  // exec '/nope': No such file or directory (ENOENT)
    int exit_status;
};
std::optional<ExecFailure> exec_failure(const TaskStarted& started, std::string_view program);
/// The same of a failed creation, which looks the program up.
std::optional<ExecFailure> exec_failure(const Error& error, std::string_view program);

/// Tells the shim the size of our terminal's window, if it has one.
void send_window_size(ShimLink& link, const ProcessId& process);

}  // namespace pepita::runtime::cli
