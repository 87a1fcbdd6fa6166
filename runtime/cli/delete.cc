#include <signal.h>
#include <sys/poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/guest_api.h"
#include "runtime/oci/host_cgroup.h"
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

Error being_created() {
    return {Code::FailedPrecondition, "container is being created; delete it with --force"};
}

/// Has the shim end the creation, and so itself: its answer comes when nothing is left.
Result<void> end_creation(ShimLink& link, const ProcessId& process) {
    auto killed =
        link.ask<void>([&](TaskClient& client,
                           auto done) { client.kill(process, SIGKILL, true, std::move(done)); },
                       kDeadline);
    if (!killed && !link.is_closed()) {
        return std::move(killed).error();
    }
    if (!link.wait_closed(kDeadline)) {
        return Error(Code::DeadlineExceeded, "the shim does not end");
    }
    return {};
}

/// Has the shim end the container and itself.
Result<void> remove_by_shim(ShimLink& link, const Command& command) {
    const ProcessId process{.container = command.id, .exec = ""};
    const TaskState task = TRY(link.ask<TaskState>(
        [&](TaskClient& client, auto done) { client.state(process, std::move(done)); }, kDeadline));
    if (task.status == TaskStatus::Unknown) {
        return command.force ? end_creation(link, process) : Result<void>(being_created());
    }
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
            return being_created();
        }
        (void)TRY(kill_process(state->shim));
        (void)TRY(kill_process(state->vmm));
    } else if (state.error().code() == Code::DataLoss && !command.force) {
        return std::move(state).error();
    }
    return store.remove(command.id);
}

/// The shim and the stand-in of a container, held before they are asked to end.
class HostProcesses {
public:
    explicit HostProcesses(FdRef directory) {
        const auto state = read_state(directory);
        if (!state) {
            return;
        }
        cgroups_ = state->cgroups;
        hold(state->shim.pid);
        hold(state->pid);
        // Held first, compared then. A shim that is dead has taken its stand-in along, and their
        // pids may be others' by now.
        if (!is_alive(state->shim)) {
            held_.clear();
        }
    }

    /// Waits until they have exited, at the latest until the deadline, and removes their cgroups.
    void wait() const {
        for (const Fd& process : held_) {
            pollfd exited{.fd = process.ref().number(), .events = POLLIN, .revents = 0};
            (void)::poll(&exited, 1, static_cast<int>(kDeadline / std::chrono::milliseconds(1)));
        }
        oci::remove_cgroups(cgroups_);
    }

private:
    void hold(std::uint32_t pid) {
        Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        if (process) {
            held_.push_back(std::move(process));
        }
    }

    std::vector<Fd> held_;
    std::vector<std::string> cgroups_;
};

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
    const HostProcesses processes(directory->ref());
    const std::unique_ptr<ShimLink> link = TRY(connect(*loop, directory->ref()));
    if (link != nullptr) {
        auto removed = remove_by_shim(*link, command);
        // Force is for shims that hang, too.
        if (!removed && !command.force && !link->is_closed()) {
            return std::move(removed).error();
        }
    }
    TRY(remove_remains(store, directory->ref(), command));
    processes.wait();
    return 0;
}

}  // namespace pepita::runtime::cli
