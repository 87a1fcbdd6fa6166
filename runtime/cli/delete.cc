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
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/poststop.h"
#include "runtime/cli/removal.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/oci/host_cgroup.h"
#include "runtime/pod_cgroup.h"
#include "runtime/state.h"
#include "runtime/store.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{15};

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
        is_member_ = state->pod != state->id;
        shim_ = hold(state->shim.pid);
        stand_in_ = hold(state->pid);
        // Held first, compared then. A shim that is dead has taken its stand-in along, and their
        // pids may be others' by now.
        if (!is_alive(state->shim)) {
            shim_ = Fd();
            stand_in_ = Fd();
        }
    }

    /// Of a pod that began with another.
    bool is_member() const { return is_member_; }

    /// Waits until they have exited, at the latest until the deadline, and removes their cgroups. A
    /// shim that has other containers is not waited for.
    void wait(ShimEnd end) const {
        if (end == ShimEnd::Ends) {
            wait_for(shim_);
            end_left_containers(cgroups_);
        }
        wait_for(stand_in_);
        // Of the container that the pod began with, the shim is in them.
        if (end == ShimEnd::Ends || is_member_) {
            oci::remove_cgroups(cgroups_);
        }
    }

private:
    static Fd hold(std::uint32_t pid) {
        return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    }
    static void wait_for(const Fd& process) {
        if (process) {
            pollfd exited{.fd = process.ref().number(), .events = POLLIN, .revents = 0};
            (void)::poll(&exited, 1, static_cast<int>(kDeadline / std::chrono::milliseconds(1)));
        }
    }

    Fd shim_;
    Fd stand_in_;
    std::vector<std::string> cgroups_;
    bool is_member_ = false;
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
    const auto state = read_state(directory->ref());
    const auto bundle = state ? load_bundle(state->bundle) : Result<Bundle>(Bundle());
    const std::unique_ptr<ShimLink> link = TRY(connect(*loop, directory->ref()));
    ShimEnd end = ShimEnd::Ends;
    if (link != nullptr) {
        auto removed = remove_by_shim(*link, command.id, command.force);
        // Force is for shims that hang, too; but not where they have others' containers.
        const bool may_kill = command.force && !processes.is_member();
        if (!removed && !link->is_closed() && !may_kill) {
            return std::move(removed).error();
        }
        end = removed.value_or(ShimEnd::Ends);
    }
    if (end == ShimEnd::Ends) {
        TRY(remove_remains(store, directory->ref(), command));
    }
    processes.wait(end);
    if (bundle) {
        run_poststop_hooks(command, *bundle);
    }
    return 0;
}

}  // namespace pepita::runtime::cli
