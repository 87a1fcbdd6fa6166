#include <signal.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/process_io.h"
#include "runtime/cli/report.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/guest_api.h"
#include "runtime/hooks.h"
#include "runtime/state.h"
#include "runtime/store.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kStartDeadline{60};

/// For an error message only: the bundle may have changed since.
std::string program_of(FdRef directory) {
    const auto state = read_state(directory);
    if (state) {
        if (const auto bundle = load_bundle(state->bundle)) {
            return bundle->container.process.args.front();
        }
    }
    return "the container's program";
}

/// One that fails is the end of the container (runtime-spec 1.3, "Lifecycle").
Result<void> run_poststart_hooks(const Command& command, FdRef directory, ShimLink& link) {
    const auto state = read_state(directory);
    const auto bundle = state ? load_bundle(state->bundle) : Result<Bundle>(Bundle());
    if (!bundle || bundle->hooks.poststart.empty()) {
        return {};
    }
    Result<void> ran = oci::run_host_hooks(
        "poststart", bundle->hooks.poststart,
        oci::hook_state(*bundle, command.id, ContainerStatus::Running, state->pid),
        oci::OnHookFailure::Stop);
    if (!ran) {
        (void)link
            .ask<void>(
                [&](TaskClient& client, auto done) {
                    client.kill({.container = command.id, .exec = ""}, SIGKILL, true,
                                std::move(done));
                },
                kStartDeadline)
            .has_value();
    }
    return ran;
}

}  // namespace

Result<int> start(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const auto store = TRY(oci::ContainerStore::open(command.root));
    const Fd directory = TRY(store.open_container(command.id));
    const std::unique_ptr<ShimLink> link = TRY(connect(*loop, directory.ref()));
    if (link == nullptr) {
        return Error(Code::FailedPrecondition, "container is stopped");
    }
    const ProcessId process{.container = command.id, .exec = ""};
    const TaskStarted started = TRY(link->ask<TaskStarted>(
        [&](TaskClient& client, auto done) { client.start(process, std::move(done)); },
        kStartDeadline));
    const std::string program = started.exec_errno == 0 ? "" : program_of(directory.ref());
    if (const auto failure = exec_failure(started, program)) {
        report(command, failure->message);
        return 1;
    }
    TRY(run_poststart_hooks(command, directory.ref(), *link));
    return 0;
}

}  // namespace pepita::runtime::cli
