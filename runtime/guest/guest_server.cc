#include "runtime/guest/guest_server.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/utsname.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "runtime/guest/clock.h"
#include "runtime/guest/process_streams.h"
#include "runtime/guest_api.h"
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

Result<StreamNumbers> GuestServer::add(const ProcessId& id, container::Process& process,
                                       std::unique_ptr<ProcessStreams> streams) {
    if (std::optional<Fd> terminal = process.take_terminal()) {
        TRY(streams->take_terminal(*std::move(terminal)), "terminal");
    }
    Process& entry = processes_[id];
    entry.pid = process.pid();
    entry.streams = std::move(streams);
    return entry.streams->numbers();
}

Result<void> GuestServer::check_room() const {
    if (processes_.size() == kProcessesMax) {
        return Error(Code::ResourceExhausted,
                     "a guest has at most " + std::to_string(kProcessesMax) + " processes");
    }
    return {};
}

Result<StreamNumbers> GuestServer::create_now(const ContainerSpec& spec) {
    TRY(check_name(spec.id));
    if (containers_.contains(spec.id)) {
        return Error(Code::AlreadyExists, "container '" + spec.id + "' already exists");
    }
    if (containers_.size() == kContainersMax) {
        return Error(Code::ResourceExhausted,
                     "a guest has at most " + std::to_string(kContainersMax) + " containers");
    }
    TRY(check_room());
    auto streams = std::make_unique<ProcessStreams>(loop_, streams_);
    container::Stdio stdio;
    if (spec.process.terminal == Terminal::No) {
        stdio = TRY(streams->make_pipes(spec.process.streams));
    }
    container::Container::Options options{.root_device = TRY(options_.find_disk(*spec.root.disk)),
                                          .scratch_device = {},
                                          .state_directory = options_.state_directory,
                                          .cgroup_directory = options_.cgroup_directory};
    if (spec.root.written_to == WrittenTo::ScratchDisk && !spec.root_read_only) {
        options.scratch_device = TRY(options_.find_disk(spec.root.scratch_disk));
    }
    auto made = TRY(container::Container::create(spec, options, std::move(stdio)));
    const StreamNumbers numbers =
        TRY(add({.container = spec.id, .exec = ""}, made->process(), std::move(streams)));
    containers_.emplace(spec.id, std::move(made));
    return numbers;
}

void GuestServer::create(ContainerSpec spec, OnResult<StreamNumbers> done) {
    done(create_now(spec));
}

Result<StreamNumbers> GuestServer::exec_now(const ProcessId& id, const ProcessSpec& spec) {
    container::Container* container = TRY(find_container(id.container));
    const Process* own = TRY(find({.container = id.container, .exec = ""}));
    if (own->status || !own->is_started) {
        return Error(Code::FailedPrecondition, "container not running");
    }
    if (id.exec.empty() || processes_.contains(id)) {
        return Error(Code::AlreadyExists, "process '" + id.exec + "' exists");
    }
    TRY(check_room());
    auto streams = std::make_unique<ProcessStreams>(loop_, streams_);
    container::Stdio stdio;
    if (spec.terminal == Terminal::No) {
        stdio = TRY(streams->make_pipes(spec.streams));
    }
    container::Process process = TRY(container->exec(spec, std::move(stdio)));
    const StreamNumbers numbers = TRY(add(id, process, std::move(streams)));
    processes_[id].execed = std::move(process);
    return numbers;
}

void GuestServer::exec(ProcessId id, ProcessSpec spec, OnResult<StreamNumbers> done) {
    done(exec_now(id, spec));
}

Result<Started> GuestServer::start_now(const ProcessId& id) {
    Process* entry = TRY(find(id));
    if (entry->is_started) {
        return Error(Code::FailedPrecondition, "it was started before");
    }
    container::Container* container = TRY(find_container(id.container));
    container::Process& process = entry->execed ? *entry->execed : container->process();
    entry->is_started = true;
    const std::uint32_t exec_errno = TRY(process.start());
    return Started{.pid = static_cast<std::uint32_t>(entry->pid), .exec_errno = exec_errno};
}

void GuestServer::start(ProcessId process, OnResult<Started> done) { done(start_now(process)); }

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
    if (::kill(process->pid, number) != 0) {
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
        if (process.pid != pid || process.status) {
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

Result<void> GuestServer::remove_now(const ProcessId& id) {
    const Process* process = TRY(find(id));
    if (process->is_started && !process->status) {
        return Error(Code::FailedPrecondition, "the process is running");
    }
    if (!id.exec.empty()) {
        forget(id);  // one that waits for start() ends with its control socket
        return {};
    }
    container::Container* container = TRY(find_container(id.container));
    TRY(container->remove());
    containers_.erase(id.container);
    // The container's own is the first, because its exec id is empty; the others ended with it.
    const auto next = [&] {
        return processes_.lower_bound({.container = id.container, .exec = ""});
    };
    for (auto at = next(); at != processes_.end() && at->first.container == id.container;
         at = next()) {
        forget(at->first);
    }
    return {};
}

void GuestServer::forget(const ProcessId& id) {
    auto process = processes_.extract(id);
    for (auto& waiter : process.mapped().waiters) {
        waiter(Error(Code::NotFound, "the process was removed"));
    }
}

void GuestServer::remove(ProcessId process, OnResult<void> done) { done(remove_now(process)); }

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
    Result<container::Container*> found = find_container(container);
    if (!found) {
        return done(std::move(found).error());
    }
    done((*found)->stats());
}

void GuestServer::adjust_clock(std::chrono::nanoseconds offset,
                               OnResult<std::chrono::nanoseconds> done) {
    done(step_clock(offset));
}

}  // namespace pepita::runtime::guest
