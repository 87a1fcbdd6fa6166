#include "runtime/cli/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::cli {

SignalWatch::SignalWatch(Fd signals, const sigset_t& before,
                         std::move_only_function<void(int signal)> on_signal)
    : signals_(std::move(signals)), before_(before), on_signal_(std::move(on_signal)) {}

Result<std::unique_ptr<SignalWatch>> SignalWatch::create(
    EventLoop& loop, std::move_only_function<void(int signal)> on_signal) {
    sigset_t wanted;
    (void)::sigfillset(&wanted);
    for (const int own : {SIGCHLD, SIGPIPE, SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP,
                          SIGSYS, SIGABRT, SIGTTIN, SIGTTOU}) {
        (void)::sigdelset(&wanted, own);
    }
    Fd signals(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals) {
        return Error::from_errno(errno, "signalfd");
    }
    sigset_t before;
    (void)::sigprocmask(SIG_BLOCK, &wanted, &before);
    std::unique_ptr<SignalWatch> watch(
        new SignalWatch(std::move(signals), before, std::move(on_signal)));
    watch->watch_ = TRY(loop.watch(watch->signals_.ref(), EPOLLIN,
                                   [self = watch.get()](std::uint32_t) { self->on_ready(); }));
    return watch;
}

SignalWatch::~SignalWatch() {
    watch_.cancel();
    (void)::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

void SignalWatch::on_ready() {
    signalfd_siginfo info{};
    while (::read(signals_.ref().number(), &info, sizeof(info)) ==
           static_cast<ssize_t>(sizeof(info))) {
        on_signal_(static_cast<int>(info.ssi_signo));
    }
}

}  // namespace pepita::runtime::cli
