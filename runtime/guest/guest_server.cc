#include "runtime/guest/guest_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/utsname.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/cgroup_stats.h"
#include "runtime/container/engine.h"
#include "runtime/guest/process_streams.h"
#include "runtime/guest/shared_mounts.h"
#include "runtime/guest_api.h"
#include "runtime/network.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime::guest {
namespace {

// It becomes the name of directories.
Result<void> check_name(const std::string& id) {
    if (id.empty() || id == "." || id == ".." || id.find('/') != std::string::npos) {
        return Error(Code::InvalidArgument, "container id '" + id + "' is no file name");
    }
    return {};
}

// A disk whose server has died never lets its driver go.
constexpr std::chrono::seconds kDeviceDeadline{30};

}  // namespace

Result<container::Container*> GuestServer::find_container(const std::string& id) {
    const auto found = containers_.find(id);
    if (found == containers_.end()) {
        return Error(Code::NotFound, "container '" + id + "' does not exist");
    }
    return found->second.get();
}

Result<GuestServer::Process*> GuestServer::find(const ProcessId& id) {
    const auto found = processes_.find(id);
    if (found == processes_.end()) {
        return Error(Code::NotFound, id.exec.empty()
                                         ? "container '" + id.container + "' does not exist"
                                         : "process '" + id.exec + "' does not exist");
    }
    return &found->second;
}

void GuestServer::describe(OnResult<GuestDescription> done) {
    utsname names{};
    (void)::uname(&names);
    done(GuestDescription{.version = options_.version, .kernel_release = names.release});
}

container::Process& GuestServer::process_of(const ProcessId& id, const Process& entry) {
    return entry.execed ? *entry.execed : containers_.at(id.container)->process();
}

Result<void> GuestServer::check_room() const {
    if (processes_.size() == kProcessesMax) {
        return Error(Code::ResourceExhausted,
                     "a guest has at most " + std::to_string(kProcessesMax) + " processes");
    }
    return {};
}

Result<std::unique_ptr<ProcessStreams>> GuestServer::make_streams(const ProcessSpec& spec,
                                                                  container::Stdio& stdio) {
    auto streams = std::make_unique<ProcessStreams>(loop_, streams_);
    if (spec.terminal == Terminal::No) {
        stdio = TRY(streams->make_pipes(spec.streams));
    }
    return streams;
}

Result<std::map<std::string, FdRef>> GuestServer::find_joined(const NamespacesSpec& namespaces,
                                                              std::vector<Fd>& opened) {
    std::map<std::string, FdRef> joined;
    for (const std::string& id : {namespaces.pid_of, namespaces.ipc_of, namespaces.uts_of}) {
        // The engine names one that is not there.
        if (const auto found = containers_.find(id); found != containers_.end() && found->second) {
            joined.emplace(id, found->second->process().pidfd());
        } else if (id == kNamespacesOfPod && options_.pod_namespaces) {
            joined.emplace(id, TRY(options_.pod_namespaces()));
        } else if (id.starts_with('/') && options_.pod_namespaces) {
            opened.push_back(TRY(open_file(id.c_str(), O_RDONLY), "join the namespace '", id, "'"));
            joined.emplace(id, opened.back().ref());
        }
    }
    return joined;
}

Result<void> GuestServer::begin_create(ContainerSpec& spec) {
    TRY(check_name(spec.id));
    if (containers_.contains(spec.id)) {
        return Error(Code::AlreadyExists, "container '" + spec.id + "' already exists");
    }
    if (containers_.size() == kContainersMax) {
        return Error(Code::ResourceExhausted,
                     "a guest has at most " + std::to_string(kContainersMax) + " containers");
    }
    TRY(check_room());
    container::Container::Options options{.root_device = {},
                                          .scratch_device = {},
                                          .staging_directory = options_.staging_directory,
                                          .cgroup_directory = options_.cgroup_directory,
                                          .trees = options_.trees,
                                          .shared_mounts = options_.shared_mounts};
    if (spec.root.disk) {
        options.root_device = TRY(options_.find_disk(*spec.root.disk));
    }
    for (const MountSpec& mount : spec.mounts) {
        if (mount.disk) {
            options.image_devices[mount.disk->serial] =
                TRY(options_.find_disk(*mount.disk), "mount '", mount.destination, "'");
        }
    }
    if (spec.root.written_to == WrittenTo::ScratchDisk) {
        options.scratch_device = TRY(options_.find_disk(spec.root.scratch_disk));
    }
    std::vector<Fd> opened;
    options.joined = TRY(find_joined(spec.namespaces, opened));
    TRY(share_mounts(spec, options_.shared_directory));
    container::Stdio stdio;
    auto streams = TRY(make_streams(spec.process, stdio));
    const ProcessId id{.container = spec.id, .exec = ""};
    containers_[spec.id] = TRY(container::Container::create(
        loop_, spec, options, std::move(stdio),
        [this, id](Result<void> made) { on_made(id, std::move(made)); }));
    processes_[id].streams = std::move(streams);
    return {};
}

void GuestServer::create(ContainerSpec spec, OnResult<StreamNumbers> done) {
    if (Result<void> begun = begin_create(spec); !begun) {
        return done(std::move(begun).error());
    }
    processes_[{.container = spec.id, .exec = ""}].on_made = std::move(done);
}

Result<void> GuestServer::begin_exec(const ProcessId& id, const ProcessSpec& spec) {
    container::Container* container = TRY(find_container(id.container));
    const Process* own = TRY(find({.container = id.container, .exec = ""}));
    if (own->status || own->on_made) {
        return Error(Code::FailedPrecondition, "container not running");
    }
    if (id.exec.empty() || processes_.contains(id)) {
        return Error(Code::AlreadyExists, "process '" + id.exec + "' exists");
    }
    TRY(check_room());
    container::Stdio stdio;
    auto streams = TRY(make_streams(spec, stdio));
    auto process = TRY(container->exec(
        spec, std::move(stdio), [this, id](Result<void> made) { on_made(id, std::move(made)); }));
    Process& entry = processes_[id];
    entry.streams = std::move(streams);
    entry.execed = std::move(process);
    return {};
}

void GuestServer::exec(ProcessId id, ProcessSpec spec, OnResult<StreamNumbers> done) {
    if (Result<void> begun = begin_exec(id, spec); !begun) {
        return done(std::move(begun).error());
    }
    processes_[id].on_made = std::move(done);
}

void GuestServer::on_made(const ProcessId& id, Result<void> made) {
    Result<StreamNumbers> numbers = made ? finish_making(id) : std::move(made).error();
    if (!numbers) {
        return undo(id, std::move(numbers).error());
    }
    std::exchange(processes_[id].on_made, nullptr)(*numbers);
}

Result<StreamNumbers> GuestServer::finish_making(const ProcessId& id) {
    Process& entry = processes_[id];
    if (std::optional<Fd> terminal = process_of(id, entry).take_terminal()) {
        TRY(entry.streams->take_terminal(*std::move(terminal)), "terminal");
    }
    return entry.streams->numbers();
}

// The answer comes when nothing is left.
void GuestServer::undo(const ProcessId& id, Error reason) {
    OnResult<StreamNumbers> done = std::exchange(processes_[id].on_made, nullptr);
    if (!id.exec.empty()) {
        forget(id);
        return done(std::move(reason));
    }
    remove_container(id.container, [done = std::move(done), reason = std::move(reason)](
                                       Result<void>) mutable { done(std::move(reason)); });
}

Result<container::Process*> GuestServer::begin_start(const ProcessId& id) {
    Process* entry = TRY(find(id));
    if (entry->on_made) {
        return Error(Code::FailedPrecondition, "it is being created");
    }
    if (std::exchange(entry->is_started, true)) {
        return Error(Code::FailedPrecondition, "it was started before");
    }
    return &process_of(id, *entry);
}

void GuestServer::start(ProcessId process, OnResult<Started> done) {
    Result<container::Process*> starting = begin_start(process);
    if (!starting) {
        return done(std::move(starting).error());
    }
    const auto pid = static_cast<std::uint32_t>((*starting)->pid());
    (*starting)->start([pid, done = std::move(done)](Result<std::uint32_t> exec_errno) mutable {
        if (!exec_errno) {
            return done(std::move(exec_errno).error());
        }
        done(Started{.pid = pid, .exec_errno = *exec_errno});
    });
}

Result<void> GuestServer::signal_now(const ProcessId& id, std::uint32_t signal, bool all) {
    const Process* process = TRY(find(id));
    if (process->status) {
        return Error(Code::NotFound, "the process is over");
    }
    if (signal > static_cast<std::uint32_t>(SIGRTMAX)) {
        return Error(Code::InvalidArgument, "there is no signal " + std::to_string(signal));
    }
    const int number = static_cast<int>(signal);
    if (all) {
        return TRY(find_container(id.container))->signal_all(number);
    }
    // Not reaped yet, so the pid is still its own.
    if (::kill(process_of(id, *process).pid(), number) != 0) {
        return Error::from_errno(errno, "signal " + std::to_string(signal));
    }
    return {};
}

void GuestServer::signal(ProcessId process, std::uint32_t signal, bool all, OnResult<void> done) {
    done(signal_now(process, signal, all));
}

void GuestServer::wait(ProcessId process, OnResult<std::uint32_t> done) {
    const Result<Process*> found = find(process);
    if (!found) {
        return done(Error(found.error().code(), found.error().message()));
    }
    if (const std::optional<std::uint32_t> status = (*found)->status) {
        return done(*status);
    }
    if ((*found)->waiters.size() == kWaitersMax) {
        return done(Error(Code::ResourceExhausted,
                          "a process has at most " + std::to_string(kWaitersMax) + " waiters"));
    }
    (*found)->waiters.push_back(std::move(done));
}

void GuestServer::on_exit(pid_t pid, const ChildExit& exit) {
    for (auto& [id, process] : processes_) {
        if (process_of(id, process).pid() != pid || process.status) {
            continue;
        }
        const std::uint32_t status = exit.shell_status();
        process.status = status;
        process.streams->exited();
        for (auto& waiter : std::exchange(process.waiters, {})) {
            waiter(status);
        }
        return;
    }
}

void GuestServer::resize(ProcessId process, WindowSize size, OnResult<void> done) {
    const Result<Process*> found = find(process);
    if (!found) {
        return done(Error(found.error().code(), found.error().message()));
    }
    done((*found)->streams->resize(size));
}

void GuestServer::close_stdin(ProcessId process, OnResult<void> done) {
    const Result<Process*> found = find(process);
    if (!found) {
        return done(Error(found.error().code(), found.error().message()));
    }
    (*found)->streams->close_stdin();
    done({});
}

void GuestServer::remove(ProcessId process, OnResult<void> done) {
    const Result<Process*> found = find(process);
    if (!found) {
        return done(Error(found.error().code(), found.error().message()));
    }
    if ((*found)->is_started && !(*found)->status) {
        return done(Error(Code::FailedPrecondition, "the process is running"));
    }
    if (OnResult<StreamNumbers> making = std::exchange((*found)->on_made, nullptr)) {
        making(Error(Code::Cancelled, "it was removed"));
    }
    if (process.exec.empty()) {
        return remove_container(process.container, std::move(done));
    }
    forget(process);  // one that is not started ends with its control socket
    done({});
}

void GuestServer::remove_container(const std::string& id, OnResult<void> done) {
    containers_.at(id)->remove([this, id, done = std::move(done)](Result<void> removed) mutable {
        if (!removed) {
            return done(std::move(removed));
        }
        // The container's own is the first, because its exec id is empty; the others have ended
        // with it.
        const auto next = [&] { return processes_.lower_bound({.container = id, .exec = ""}); };
        for (auto at = next(); at != processes_.end() && at->first.container == id; at = next()) {
            forget(at->first);
        }
        // Not in the container's own call.
        loop_.post([gone = std::shared_ptr<container::Container>(
                        std::move(containers_.extract(id).mapped()))] {});
        done({});
    });
}

void GuestServer::forget(const ProcessId& id) {
    auto process = processes_.extract(id);
    if (OnResult<StreamNumbers> making = std::exchange(process.mapped().on_made, nullptr)) {
        making(Error(Code::Cancelled, "it was removed"));
    }
    for (auto& waiter : process.mapped().waiters) {
        waiter(Error(Code::NotFound, "the process was removed"));
    }
}

void GuestServer::shutdown(OnResult<void> done) {
    for (auto& [id, container] : containers_) {
        (void)container->signal_all(SIGKILL).has_value();
    }
    done({});
    options_.power_off();
}

void GuestServer::rescan(OnResult<void> done) {
    errands_.run([this] { return options_.rescan(); }, kDeviceDeadline, std::move(done));
}

void GuestServer::release(DiskId disk, OnResult<void> done) {
    errands_.run([this, disk = std::move(disk)] { return options_.release(disk); }, kDeviceDeadline,
                 std::move(done));
}

void GuestServer::stats(std::string container, OnResult<ContainerStats> done) {
    if (container.empty()) {
        return done(container::read_stats(options_.cgroup_directory));
    }
    Result<container::Container*> found = find_container(container);
    if (!found) {
        return done(std::move(found).error());
    }
    done((*found)->stats());
}

void GuestServer::set_frozen(const std::string& container, bool frozen, OnResult<void> done) {
    Result<container::Container*> found = find_container(container);
    if (!found) {
        return done(std::move(found).error());
    }
    (*found)->set_frozen(frozen, std::move(done));
}

void GuestServer::pause(std::string container, OnResult<void> done) {
    set_frozen(container, true, std::move(done));
}

void GuestServer::resume(std::string container, OnResult<void> done) {
    set_frozen(container, false, std::move(done));
}

void GuestServer::update(std::string container, ResourcesSpec resources, OnResult<void> done) {
    if (container.empty()) {
        return errands_.run(
            [this, resources = std::move(resources)] { return options_.limit_pod(resources); },
            kDeviceDeadline, std::move(done));
    }
    Result<container::Container*> found = find_container(container);
    if (!found) {
        return done(std::move(found).error());
    }
    done((*found)->update(resources));
}

void GuestServer::configure_network(NetworkConfig config, OnResult<void> done) {
    errands_.run([this, config = std::move(config)] { return options_.configure_network(config); },
                 kDeviceDeadline, std::move(done));
}

void GuestServer::adjust_clock(std::chrono::nanoseconds offset,
                               OnResult<std::chrono::nanoseconds> done) {
    done(options_.adjust_clock(offset));
}

void GuestServer::dial(std::uint16_t port, OnResult<std::uint64_t> done) {
    dialer_.dial(port, std::move(done));
}

void GuestServer::user(std::string container, OnResult<UserIds> done) {
    Result<container::Container*> found = find_container(container);
    if (!found) {
        return done(std::move(found).error());
    }
    if (!(*found)->process().is_ready()) {
        return done(Error(Code::FailedPrecondition, "it is being created"));
    }
    done(UserIds((*found)->process().user()));
}

}  // namespace pepita::runtime::guest
