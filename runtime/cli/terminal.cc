#include "runtime/cli/terminal.h"

#include <sys/ioctl.h>
#include <termios.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::cli {

Result<std::optional<RawTerminal>> RawTerminal::create(FdRef terminal) {
    termios before{};
    if (::tcgetattr(terminal.number(), &before) != 0) {
        return std::optional<RawTerminal>();
    }
    termios raw = before;
    ::cfmakeraw(&raw);
    raw.c_oflag = before.c_oflag;  // others may write to it while we have it
    if (::tcsetattr(terminal.number(), TCSANOW, &raw) != 0) {
        return Error::from_errno(errno, "set the terminal to raw mode");
    }
    return std::optional(RawTerminal(terminal, before));
}

RawTerminal::RawTerminal(RawTerminal&& other) noexcept
    : terminal_(other.terminal_), before_(std::exchange(other.before_, std::nullopt)) {}

RawTerminal& RawTerminal::operator=(RawTerminal&& other) noexcept {
    std::swap(terminal_, other.terminal_);
    std::swap(before_, other.before_);
    return *this;
}

RawTerminal::~RawTerminal() {
    if (before_) {
        (void)::tcsetattr(terminal_.number(), TCSADRAIN, &*before_);
    }
}

std::optional<WindowSize> window_size(FdRef terminal) {
    winsize size{};
    if (::ioctl(terminal.number(), TIOCGWINSZ, &size) != 0 || size.ws_row == 0 ||
        size.ws_col == 0) {
        return std::nullopt;
    }
    return WindowSize{.rows = size.ws_row, .columns = size.ws_col};
}

}  // namespace pepita::runtime::cli
