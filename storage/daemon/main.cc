#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/log_json.h"
#include "storage/daemon/daemon.h"
#include "storage/daemon/options.h"
#include "storage/ublk_server.h"

namespace {

using pepita::Error;
using pepita::EventLoop;
using pepita::Fd;
using pepita::Result;
using pepita::storage::daemon::Daemon;
using pepita::storage::daemon::Options;

/// SIGTERM and SIGINT as a descriptor: before there are threads, which inherit that they wait.
Result<Fd> end_signals() {
    sigset_t signals;
    (void)::sigemptyset(&signals);
    (void)::sigaddset(&signals, SIGTERM);
    (void)::sigaddset(&signals, SIGINT);
    if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) {
        return Error::from_errno(errno, "sigprocmask");
    }
    Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) {
        return Error::from_errno(errno, "signalfd");
    }
    return fd;
}

Result<void> serve(const Options& options) {
    if (options.logs_json) {
        pepita::log::use(pepita::runtime::log_json);
    }
    (void)::umask(0077);  // the socket, the memory and the state are nobody else's
    pepita::reset_signals();
    pepita::reset_limits();
    (void)::signal(SIGPIPE, SIG_IGN);
    (void)::signal(SIGXFSZ, SIG_IGN);
    if (::geteuid() == 0) {  // for ublk, which takes root; without privileges there is none
        TRY(pepita::storage::enter_own_mount_namespace(), "enter a mount namespace");
    }
    const Fd signals = TRY(end_signals());
    const auto loop = TRY(EventLoop::create());
    const std::unique_ptr<Daemon> daemon = TRY(Daemon::create(*loop, options));
    const auto watch = TRY(loop->watch(signals.ref(), EPOLLIN, [&](std::uint32_t /*events*/) {
        signalfd_siginfo taken{};
        (void)!::read(signals.ref().number(), &taken, sizeof(taken));
        daemon->stop();
    }));
    TRY(loop->run());
    return daemon->result();
}

void print(const std::string& text) {
    (void)pepita::write_all(pepita::FdRef(STDOUT_FILENO), text, "standard output").has_value();
}

int fail(int status, const Error& error) {
    pepita::log::error("pepita-storage gave up", {{"error", error.message()}});
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    const std::span<char*> all(argv, static_cast<std::size_t>(argc));
    const std::vector<std::string> arguments(all.begin() + (argc > 0 ? 1 : 0), all.end());
    const Result<Options> options = pepita::storage::daemon::parse_options(arguments);
    if (!options) {
        return fail(2, options.error());
    }
    if (options->action == Options::Action::Help) {
        print(pepita::storage::daemon::help_text());
        return 0;
    }
    if (options->action == Options::Action::Version) {
        print("pepita-storage " PEPITA_VERSION "\n");
        return 0;
    }
    const Result<void> served = serve(*options);
    return served ? 0 : fail(1, served.error());
}
