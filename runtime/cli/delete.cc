#include <signal.h>

#include <chrono>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/guest_api.h"
#include "runtime/oci/store.h"
#include "runtime/state.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{15};

Error still_running() {
    return {Code::FailedPrecondition,
            "container is running; kill it first, or delete it with --force"};
}

/// Has the shim end the container and itself.
Result<void> remove_by_shim(ShimLink& link, const Command& command) {
    const ProcessId process{.container = command.id, .exec = ""};
    const TaskState task = TRY(link.ask<TaskState>(
        [&](TaskClient& client, auto done) { client.state(process, std::move(done)); }, kDeadline));
    if (task.status == TaskStatus::Running && !command.force) {
        return still_running();
    }
    if (task.status != TaskStatus::Stopped) {
        auto killed =
            link.ask<void>([&](TaskClient& client,
                               auto done) { client.kill(process, SIGKILL, true, std::move(done)); },
                           kDeadline);
        // One that has ended meanwhile is what we want.
        if (!killed && killed.error().code() != Code::NotFound) {
            return std::move(killed).error();
        }
        TRY(link.ask<TaskExit>(
            [&](TaskClient& client, auto done) { client.wait(process, std::move(done)); },
            kDeadline));
    }
    TRY(link.ask<TaskExit>(
        [&](TaskClient& client, auto done) { client.remove(process, std::move(done)); },
        kDeadline));
    TRY(link.ask<void>(
        [&](TaskClient& client, auto done) { client.shutdown(false, std::move(done)); },
        kDeadline));
    if (!link.wait_closed(kDeadline)) {
        return Error(Code::DeadlineExceeded, "the shim does not end");
    }
    return {};
}

/// Removes what a shim left that did not end as it should.
Result<void> remove_remains(const oci::ContainerStore& store, FdRef directory,
                            const Command& command) {
    auto state = read_state(directory);
    if (state) {
        // Any other shim that does not answer is on its way out.
        const bool is_coming = state->status == ContainerStatus::Creating && is_alive(state->shim);
        if (is_coming && !command.force) {
            return Error(Code::FailedPrecondition,
                         "container is being created; delete it with --force");
        }
        (void)TRY(kill_process(state->shim));
        (void)TRY(kill_process(state->vmm));
    } else if (state.error().code() == Code::DataLoss && !command.force) {
        return std::move(state).error();
    }
    return store.remove(command.id);
}

}  // namespace

Result<int> remove(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const auto store = TRY(oci::ContainerStore::open(command.root));
    auto directory = store.open_container(command.id);
    if (!directory && command.force && directory.error().code() == Code::NotFound) {
        return 0;
    }
    if (!directory) {
        return std::move(directory).error();
    }
    const std::unique_ptr<ShimLink> link = TRY(connect(*loop, directory->ref()));
    if (link != nullptr) {
        auto removed = remove_by_shim(*link, command);
        // Force is for shims that hang, too.
        if (!removed && !command.force && !link->is_closed()) {
            return std::move(removed).error();
        }
    }
    TRY(remove_remains(store, directory->ref(), command));
    return 0;
}

}  // namespace pepita::runtime::cli
