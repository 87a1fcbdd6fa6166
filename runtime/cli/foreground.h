#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/signals.h"
#include "runtime/cli/terminal.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"

namespace pepita::runtime::cli {

/// Stands between who started us and a process in a guest.
///
/// While the container is made, signals that end programs interrupt what we ask of the shim. Then
/// signals are the process's. It may already run before we hear of it, so those that come between
/// starting() and started() are kept for it; but a second one that ends programs means us.
class Foreground {
public:
    static Result<std::unique_ptr<Foreground>> create(EventLoop& loop, ProcessId process,
                                                      Terminal terminal);
    Foreground(const Foreground&) = delete;
    Foreground& operator=(const Foreground&) = delete;
    Foreground(Foreground&&) = delete;
    Foreground& operator=(Foreground&&) = delete;
    ~Foreground() = default;

    /// Whom to tell; borrowed until ending().
    void attach(ShimLink& link) { link_ = &link; }

    /// Where the process has a terminal and we have one: makes ours transparent, until ending().
    Result<void> take_terminal();
    void starting() { phase_ = Phase::Starting; }
    void started();
    /// From here on signals are neither ours nor the process's: what is left must be taken down.
    void ending();

private:
    enum class Phase : std::uint8_t { Making, Starting, Started, Ending };

    Foreground(ProcessId process, Terminal terminal);
    void forward(int signal);
    void on_signal(int signal);

    ShimLink* link_ = nullptr;
    ProcessId process_;
    Terminal terminal_;
    Phase phase_ = Phase::Making;
    std::vector<int> kept_;
    std::optional<RawTerminal> raw_;
    std::unique_ptr<SignalWatch> signals_;
};

}  // namespace pepita::runtime::cli
