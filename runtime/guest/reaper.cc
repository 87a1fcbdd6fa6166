#include "runtime/guest/reaper.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {

Result<std::unique_ptr<Reaper>> Reaper::create(EventLoop& loop, OnExit on_exit) {
    sigset_t signals;
    (void)::sigemptyset(&signals);
    (void)::sigaddset(&signals, SIGCHLD);
    (void)::sigprocmask(SIG_BLOCK, &signals, nullptr);
    std::unique_ptr<Reaper> reaper(new Reaper(std::move(on_exit)));
    Reaper* self = reaper.get();
    reaper->signals_ = Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!reaper->signals_) {
        return Error::from_errno(errno, "signalfd");
    }
    reaper->watch_ = TRY(
        loop.watch(reaper->signals_.ref(), EPOLLIN, [self](std::uint32_t) { self->reap_all(); }));
    return reaper;
}

void Reaper::reap_all() {
    // One SIGCHLD stands for any number of children.
    signalfd_siginfo ignored{};
    (void)!::read(signals_.ref().number(), &ignored, sizeof(ignored));
    int status = 0;
    while (true) {
        const pid_t pid = ::waitpid(-1, &status, WNOHANG);
        if (pid <= 0) {
            return;
        }
        on_exit_(pid, {.by_signal = WIFSIGNALED(status),
                       .value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)});
    }
}

}  // namespace pepita::runtime::guest
