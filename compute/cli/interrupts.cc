#include "compute/cli/interrupts.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {

Result<std::unique_ptr<Interrupts>> Interrupts::create(EventLoop& loop, OnSignal on_signal) {
    sigset_t wanted;
    (void)::sigemptyset(&wanted);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        (void)::sigaddset(&wanted, signal);
    }
    Fd signals(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals) {
        return Error::from_errno(errno, "signalfd");
    }
    (void)::sigprocmask(SIG_BLOCK, &wanted, nullptr);
    std::unique_ptr<Interrupts> self(new Interrupts(std::move(signals), std::move(on_signal)));
    self->watch_ =
        TRY(loop.watch(self->signals_.ref(), EPOLLIN, [self = self.get()](std::uint32_t) {
            signalfd_siginfo info{};
            while (::read(self->signals_.ref().number(), &info, sizeof info) ==
                   static_cast<ssize_t>(sizeof info)) {
                self->on_signal_(static_cast<int>(info.ssi_signo));
            }
        }));
    return self;
}

}  // namespace pepita::compute::cli
