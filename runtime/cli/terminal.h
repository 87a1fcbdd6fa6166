#pragma once

#include <termios.h>

#include <optional>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::cli {

/// A terminal that hands every byte on as it is, until this goes: then it is as it was before.
class RawTerminal {
public:
    /// `terminal` is borrowed. Nothing, where it is no terminal.
    static Result<std::optional<RawTerminal>> create(FdRef terminal);
    RawTerminal(RawTerminal&& other) noexcept;
    RawTerminal& operator=(RawTerminal&& other) noexcept;
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    ~RawTerminal();

private:
    RawTerminal(FdRef terminal, const termios& before) : terminal_(terminal), before_(before) {}
    FdRef terminal_;
    std::optional<termios> before_;
};

/// The size of a terminal's window; nothing, where it is no terminal or does not say.
std::optional<WindowSize> window_size(FdRef terminal);

}  // namespace pepita::runtime::cli
