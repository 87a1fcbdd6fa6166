#include "runtime/cli/observe.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/shim_link.h"
#include "runtime/guest_api.h"
#include "runtime/state.h"
#include "runtime/store.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

ContainerStatus status_of(const TaskState& task) {
    switch (task.status) {
        case TaskStatus::Created:
            return ContainerStatus::Created;
        case TaskStatus::Running:
            return ContainerStatus::Running;
        case TaskStatus::Stopped:
            return ContainerStatus::Stopped;
        case TaskStatus::Paused:
            return ContainerStatus::Paused;
        case TaskStatus::Unknown:
            break;
    }
    return ContainerStatus::Creating;
}

}  // namespace

Result<std::unique_ptr<ShimLink>> connect(EventLoop& loop, FdRef directory) {
    Result<Fd> socket = oci::connect_shim(directory);
    if (socket) {
        return ShimLink::create(loop, *std::move(socket));
    }
    if (oci::has_no_shim(socket.error())) {
        return std::unique_ptr<ShimLink>();
    }
    return std::move(socket).error();
}

Result<std::unique_ptr<ShimLink>> connect_running(EventLoop& loop, const Command& command) {
    const auto store = TRY(oci::ContainerStore::open(command.root));
    const Fd directory = TRY(store.open_container(command.id));
    std::unique_ptr<ShimLink> link = TRY(connect(loop, directory.ref()));
    if (link == nullptr) {
        return Error(Code::FailedPrecondition, "container not running");
    }
    return link;
}

Result<ContainerState> observe(EventLoop& loop, const oci::ContainerStore& store,
                               std::string_view id, Deadline deadline) {
    const Fd directory = TRY(store.open_container(id));
    const std::unique_ptr<ShimLink> link = TRY(connect(loop, directory.ref()));
    Result<ContainerState> found = read_state(directory.ref());
    if (!found && found.error().code() == Code::NotFound) {
        // A pod of that name, without a container of that name.
        return Error(Code::NotFound, "container '" + std::string(id) + "' does not exist");
    }
    ContainerState state = TRY(std::move(found));
    if (link != nullptr) {
        const ProcessId process{.container = std::string(id), .exec = ""};
        auto task = link->ask<TaskState>(
            [&](TaskClient& client, auto done) { client.state(process, std::move(done)); },
            deadline);
        if (task) {
            state.status = status_of(*task);
            state.pid = state.status == ContainerStatus::Stopped ? 0 : task->pid;
            return state;
        }
        // One that died before it answered is as none at all.
        if (!link->is_closed()) {
            return std::move(task).error();
        }
    }
    // A shim on its way to its socket has written who it is.
    const bool is_coming = state.status == ContainerStatus::Creating && is_alive(state.shim);
    if (!is_coming) {
        state.status = ContainerStatus::Stopped;
        state.pid = 0;
    }
    return state;
}

}  // namespace pepita::runtime::cli
