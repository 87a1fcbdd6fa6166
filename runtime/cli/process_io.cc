#include "runtime/cli/process_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/terminal.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/proxy.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

Result<Fd> standard_stream(int number) {
    Fd copy(::fcntl(number, F_DUPFD_CLOEXEC, 3));
    if (!copy) {
        return Error::from_errno(errno, "duplicate descriptor " + std::to_string(number));
    }
    return copy;
}

/// An input that cannot be read is at its end: nohup opens it for writing only. `cat` in a shell
/// fails with EBADF there, but our reader is another process, which must not wait for ever.
Result<Fd> standard_input() {
    const int flags = ::fcntl(STDIN_FILENO, F_GETFL);
    if (flags == -1) {
        return Error::from_errno(errno, "examine standard input");
    }
    if ((flags & O_ACCMODE) == O_WRONLY || (flags & O_PATH) != 0) {
        return open_file("/dev/null", O_RDONLY);
    }
    return standard_stream(STDIN_FILENO);
}

/// As runc 1.2: a message "pidfd" with the descriptor.
Result<void> send_pidfd(const std::string& path, FdRef pidfd) {
    constexpr std::string_view name = "pidfd";
    const Fd socket = TRY(connect_unix(path));
    (void)TRY(send_some(socket.ref(), std::as_bytes(std::span(name)), std::span(&pidfd, 1)));
    return {};
}

}  // namespace

Result<void> check_console(const Command& command, Terminal terminal, bool is_detached) {
    const bool has_terminal = terminal == Terminal::Yes;
    if (has_terminal && is_detached && command.console_socket.empty()) {
        return Error(Code::InvalidArgument,
                     "a detached process with a terminal needs --console-socket");
    }
    if (!command.console_socket.empty() && !(has_terminal && is_detached)) {
        return Error(Code::InvalidArgument,
                     "--console-socket is for a detached process with a terminal");
    }
    return {};
}

Result<TaskIo> make_io(const Command& command, Terminal terminal) {
    TaskIo io;
    io.terminal = terminal;
    if (!command.console_socket.empty()) {
        io.console_socket = TRY(connect_unix(command.console_socket), "console socket");
        return io;
    }
    io.in.fd = TRY(standard_input());
    io.out.fd = TRY(standard_stream(STDOUT_FILENO));
    if (terminal == Terminal::No) {
        io.err.fd = TRY(standard_stream(STDERR_FILENO));
    }
    return io;
}

void attach_proxy(TaskIo& io, Proxy& proxy) {
    io.proxy = std::move(proxy.socket);
    io.proxy_pid = static_cast<std::uint32_t>(proxy.process.pid());
}

Result<void> announce_pid(const Command& command, const Child& proxy) {
    if (!command.pid_file.empty()) {
        TRY(replace_file(FdRef(AT_FDCWD), command.pid_file, std::to_string(proxy.pid()), 0644),
            "pid file");
    }
    if (!command.pidfd_socket.empty()) {
        TRY(send_pidfd(command.pidfd_socket, proxy.pidfd()), "pidfd socket");
    }
    return {};
}

std::optional<ExecFailure> exec_failure(const TaskStarted& started, std::string_view program) {
    if (started.exec_errno == 0) {
        return std::nullopt;
    }
    const int number = static_cast<int>(started.exec_errno);
    const bool is_missing = number == ENOENT || number == ENOTDIR;
    const Error error = Error::from_errno(number, "exec '" + std::string(program) + "'");
    return ExecFailure{.message = error.message(),
                       .exit_status = is_missing ? kNotFound : kNotExecutable};
}

std::optional<ExecFailure> exec_failure(const Error& error, std::string_view program) {
    // The engine's words; an errno does not travel.
    const std::string& message = error.message();
    if (!message.starts_with("exec '" + std::string(program) + "': ")) {
        return std::nullopt;
    }
    const bool is_missing = message.ends_with("(ENOENT)") || message.ends_with("(ENOTDIR)");
    return ExecFailure{.message = message, .exit_status = is_missing ? kNotFound : kNotExecutable};
}

void send_window_size(ShimLink& link, const ProcessId& process) {
    if (const auto size = window_size(FdRef(STDIN_FILENO))) {
        // Nothing depends on it: a size that is not taken is only a window drawn badly.
        link.client().resize(process, *size, [](Result<void> /*answer*/) {});
    }
}

}  // namespace pepita::runtime::cli
