#include "runtime/cli/foreground.h"

#include <signal.h>
#include <string.h>  // sigabbrev_np
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/process_io.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/signals.h"
#include "runtime/cli/terminal.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"

namespace pepita::runtime::cli {
namespace {

bool ends_programs(int signal) {
    return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

}  // namespace

Foreground::Foreground(ProcessId process, Terminal terminal)
    : process_(std::move(process)), terminal_(terminal) {}

Result<std::unique_ptr<Foreground>> Foreground::create(EventLoop& loop, ProcessId process,
                                                       Terminal terminal) {
    std::unique_ptr<Foreground> out(new Foreground(std::move(process), terminal));
    out->signals_ =
        TRY(SignalWatch::create(loop, [self = out.get()](int signal) { self->on_signal(signal); }));
    return out;
}

Result<void> Foreground::take_terminal() {
    if (terminal_ == Terminal::Yes && link_ != nullptr) {
        raw_ = TRY(RawTerminal::create(FdRef(STDIN_FILENO)));
        send_window_size(*link_, process_);
    }
    return {};
}

void Foreground::on_signal(int signal) {
    if (link_ == nullptr || phase_ == Phase::Ending) {
        return;
    }
    if (signal == SIGWINCH) {
        if (terminal_ == Terminal::Yes) {
            send_window_size(*link_, process_);
        }
        return;
    }
    if (phase_ == Phase::Started) {
        forward(signal);
        return;
    }
    const bool is_for_us = phase_ == Phase::Making || !kept_.empty();
    if (is_for_us && ends_programs(signal)) {
        link_->interrupt(std::string("interrupted by SIG") + ::sigabbrev_np(signal));
    } else if (phase_ == Phase::Starting) {
        kept_.push_back(signal);
    }
}

void Foreground::started() {
    phase_ = Phase::Started;
    for (const int signal : std::exchange(kept_, {})) {
        forward(signal);
    }
}

void Foreground::ending() {
    phase_ = Phase::Ending;
    link_ = nullptr;
    raw_.reset();
}

void Foreground::forward(int signal) {
    // A process that has ended meanwhile is no news: its exit is being waited for.
    link_->client().kill(process_, static_cast<std::uint32_t>(signal), false,
                         [](Result<void> /*answer*/) {});
}

}  // namespace pepita::runtime::cli
