#include "runtime/cli/removal.h"

#include <signal.h>

#include <chrono>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/shim_link.h"
#include "runtime/guest_api.h"
#include "runtime/pod_cgroup.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{15};

Error still_running() {
    return {Code::FailedPrecondition,
            "container is running; kill it first, or delete it with --force"};
}

Result<void> kill(ShimLink& link, const ProcessId& process) {
    return link.ask<void>([&](TaskClient& client,
                              auto done) { client.kill(process, SIGKILL, true, std::move(done)); },
                          kDeadline);
}

/// Has the shim end where nothing is left that it stays for.
Result<ShimEnd> leave_shim(ShimLink& link) {
    const Result<bool> stays = link.ask<bool>(
        [&](TaskClient& client, auto done) { client.shutdown(false, std::move(done)); }, kDeadline);
    if (!stays && !link.is_closed()) {
        return Error(stays.error().code(), stays.error().message());
    }
    if (stays && *stays) {
        return ShimEnd::Stays;
    }
    if (!link.wait_closed(kDeadline)) {
        return Error(Code::DeadlineExceeded, "the shim does not end");
    }
    return ShimEnd::Ends;
}

/// Has the shim end the creation: its answer comes when nothing is left.
Result<ShimEnd> end_creation(ShimLink& link, const ProcessId& process) {
    auto killed = kill(link, process);
    if (!killed && !link.is_closed()) {
        return std::move(killed).error();
    }
    return link.is_closed() ? ShimEnd::Ends : leave_shim(link);
}

/// One that has ended meanwhile, perhaps with its microVM, is what we want.
Result<void> end_process(ShimLink& link, const ProcessId& process) {
    const auto is_over = [](const Error& error) {
        return error.code() == Code::NotFound || error.code() == Code::Aborted;
    };
    auto killed = kill(link, process);
    // Unavailable: the guest went in the middle of it.
    if (!killed && !is_over(killed.error()) && killed.error().code() != Code::Unavailable) {
        return killed;
    }
    auto exit = link.ask<TaskExit>(
        [&](TaskClient& client, auto done) { client.wait(process, std::move(done)); }, kDeadline);
    if (!exit && !is_over(exit.error())) {
        return std::move(exit).error();
    }
    return {};
}

}  // namespace

Error being_created() {
    return {Code::FailedPrecondition, "container is being created; delete it with --force"};
}

Result<ShimEnd> remove_by_shim(ShimLink& link, const std::string& id, bool by_force) {
    const ProcessId process{.container = id, .exec = ""};
    const TaskState task = TRY(link.ask<TaskState>(
        [&](TaskClient& client, auto done) { client.state(process, std::move(done)); }, kDeadline));
    if (task.status == TaskStatus::Unknown) {
        return by_force ? end_creation(link, process) : Result<ShimEnd>(being_created());
    }
    const bool runs = task.status == TaskStatus::Running || task.status == TaskStatus::Paused;
    if (runs && !by_force) {
        return still_running();
    }
    if (task.status != TaskStatus::Stopped) {
        TRY(end_process(link, process));
    }
    TRY(link.ask<TaskExit>(
        [&](TaskClient& client, auto done) { client.remove(process, std::move(done)); },
        kDeadline));
    return leave_shim(link);
}

}  // namespace pepita::runtime::cli
