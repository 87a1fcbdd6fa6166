#include <linux/prctl.h>
#include <sched.h>
#include <stdlib.h>  // getenv
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/shim_api.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/containerd/command_line.h"
#include "shim/containerd/tasks.h"
#include "shim/containerd/verbs.h"
#include "shim/server.h"

namespace {

using pepita::Error;
using pepita::EventLoop;
using pepita::Fd;
using pepita::FdRef;
using pepita::Result;
using pepita::shim::containerd::CommandLine;

constexpr std::chrono::seconds kFirstClientPatience{60};
constexpr std::size_t kInputMax = std::size_t{1} << 20U;

std::string environment(const char* name) {
    const char* value = ::getenv(name);
    return value == nullptr ? "" : value;
}

/// Mounts of our own, which end with us however we end; those of the host still come to us.
Result<void> enter_own_mounts() {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
        return Error::from_errno(errno, "make a mount namespace");
    }
    return {};
}

Result<void> serve(const CommandLine& line) {
    pepita::shim::prepare_process();
    TRY(enter_own_mounts());
    (void)::prctl(PR_SET_NAME, "pepita-shim");
    const auto loop = TRY(EventLoop::create());
    pepita::shim::containerd::Tasks tasks(*loop,
                                          pepita::shim::containerd::pods_root(line.name_space));
    pepita::shim::Server server(
        *loop,
        {.events = {.address = environment("TTRPC_ADDRESS"), .name_space = line.name_space},
         .on_create =
             [&tasks](pepita::runtime::TaskCreate& request, pepita::runtime::Bundle& bundle) {
                 return tasks.complete(request, bundle);
             },
         .watch = [&tasks](const pepita::runtime::TaskEvent& event) { tasks.on_event(event); }});
    Fd socket(pepita::shim::containerd::kListenerNumber);
    TRY(pepita::set_nonblocking(socket.ref()));
    const auto listener =
        TRY(pepita::Listener::create(*loop, std::move(socket),
                                     [&server](Fd client) { server.on_client(std::move(client)); }),
            "the socket that 'start' passes");
    // A caller that does not come back has died.
    const auto unused = loop->after(kFirstClientPatience, [&server] { server.stop_if_idle(); });
    Result<void> ran = loop->run();
    (void)::unlink(TRY(pepita::shim::containerd::socket_path(line, line.id)).c_str());
    return ran;
}

Result<std::string> answer(const CommandLine& line) {
    switch (line.verb) {
        case CommandLine::Verb::Start:
            return start(line,
                         TRY(pepita::read_all(FdRef(STDIN_FILENO), kInputMax, "the options")));
        case CommandLine::Verb::Delete:
            return remove(line);
        case CommandLine::Verb::Version:
            return std::string("containerd-shim-pepita-v2 " PEPITA_VERSION "\n");
        case CommandLine::Verb::Info:
            return pepita::runtime::runtime_info(PEPITA_VERSION);
        case CommandLine::Verb::Serve:
            return TRY(serve(line)), std::string();
    }
    std::unreachable();
}

Result<void> run(const std::vector<std::string>& arguments) {
    const CommandLine line = TRY(pepita::shim::containerd::parse_command_line(arguments));
    const std::string text = TRY(answer(line));
    return pepita::write_all(FdRef(STDOUT_FILENO), text, "standard output");
}

}  // namespace

int main(int argc, char** argv) {
    const Result<void> ran = run({argv + 1, argv + argc});
    if (!ran) {
        // All that is printed is part of containerd's message, or of its log.
        const std::string text = "containerd-shim-pepita-v2: " + ran.error().message() + "\n";
        (void)pepita::write_all(FdRef(STDERR_FILENO), text, "standard error").has_value();
        return 1;
    }
    return 0;
}
