#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/foreground.h"
#include "runtime/cli/launch.h"
#include "runtime/cli/process_io.h"
#include "runtime/cli/report.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

Result<TaskExit> wait_for_exit(ShimLink& link, const ProcessId& process) {
    Result<TaskExit> exit = link.ask<TaskExit>(
        [&](TaskClient& client, auto done) { client.wait(process, std::move(done)); });
    if (!exit && link.is_closed()) {
        return Error(Code::Unavailable, "the shim ended before the container did");
    }
    return exit;
}

}  // namespace

Result<int> run(const Command& command) {
    const Bundle bundle = TRY(load_bundle(command.bundle));
    const ProcessSpec& process = bundle.container.process;
    TRY(check_console(command, process.terminal, command.detach));
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const std::unique_ptr<Launch> launch = TRY(Launch::begin(*loop, command, bundle));
    if (Result<void> created = launch->create(); !created) {
        if (auto failure = exec_failure(created.error(), process.args.front())) {
            report(command, failure->message);
            return failure->exit_status;
        }
        return std::move(created).error();
    }
    ShimLink& link = launch->link();
    Foreground& foreground = launch->foreground();
    const ProcessId id{.container = command.id, .exec = ""};
    if (!command.detach) {
        TRY(foreground.take_terminal());
    }
    foreground.starting();
    const TaskStarted started = TRY(link.ask<TaskStarted>(
        [&](TaskClient& client, auto done) { client.start(id, std::move(done)); }));
    if (auto failure = exec_failure(started, process.args.front())) {
        report(command, failure->message);
        return failure->exit_status;
    }
    TRY(launch->run_hooks_after_start());
    if (command.detach) {
        launch->release();
        return 0;
    }
    foreground.started();
    const TaskExit exit = TRY(wait_for_exit(link, id));
    if (command.keep) {
        launch->release();
    }
    return static_cast<int>(exit.exit_status);
}

Result<int> create(const Command& command) {
    const Bundle bundle = TRY(load_bundle(command.bundle));
    TRY(check_console(command, bundle.container.process.terminal, true));
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const std::unique_ptr<Launch> launch = TRY(Launch::begin(*loop, command, bundle));
    TRY(launch->create());
    launch->release();
    return 0;
}

}  // namespace pepita::runtime::cli
