#include <chrono>
#include <cstdint>
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
#include "runtime/store.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kKillDeadline{15};

Error not_running() { return {Code::FailedPrecondition, "container not running"}; }

/// Signal 0 asks whether there is a process, kill(2).
Result<int> probe(ShimLink& link, const ProcessId& process) {
    const TaskState state = TRY(link.ask<TaskState>(
        [&](TaskClient& client, auto done) { client.state(process, std::move(done)); },
        kKillDeadline));
    if (state.status != TaskStatus::Created && state.status != TaskStatus::Running) {
        return not_running();
    }
    return 0;
}

}  // namespace

Result<int> kill(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const auto store = TRY(oci::ContainerStore::open(command.root));
    const Fd directory = TRY(store.open_container(command.id));
    const std::unique_ptr<ShimLink> link = TRY(connect(*loop, directory.ref()));
    if (link == nullptr) {
        return not_running();
    }
    const ProcessId process{.container = command.id, .exec = ""};
    if (command.signal == 0) {
        return probe(*link, process);
    }
    auto sent = link->ask<void>(
        [&](TaskClient& client, auto done) {
            client.kill(process, static_cast<std::uint32_t>(command.signal), command.all,
                        std::move(done));
        },
        kKillDeadline);
    if (sent) {
        return 0;
    }
    if (sent.error().code() == Code::NotFound || sent.error().code() == Code::FailedPrecondition) {
        return not_running();
    }
    return std::move(sent).error();
}

}  // namespace pepita::runtime::cli
