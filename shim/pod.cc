#include "shim/pod.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/log_json.h"
#include "runtime/rpc/on_result.h"
#include "runtime/state.h"
#include "runtime/task_api.h"
#include "shim/isolation.h"
#include "shim/jail.h"
#include "shim/machine_plan.h"
#include "shim/options.h"
#include "shim/pod_directory.h"
#include "shim/process_io.h"
#include "shim/sandbox.h"

namespace pepita::shim {
namespace {

using runtime::OnResult;
using runtime::ProcessId;
using runtime::TaskStatus;

// What a process counts as whose end nobody saw, because the machine went first.
constexpr std::uint32_t kLostStatus = 255;
constexpr std::size_t kProcessesMax = 256;

runtime::ContainerStatus to_container_status(TaskStatus status) {
    switch (status) {
        case TaskStatus::Unknown:
            return runtime::ContainerStatus::Creating;
        case TaskStatus::Created:
            return runtime::ContainerStatus::Created;
        case TaskStatus::Running:
            return runtime::ContainerStatus::Running;
        case TaskStatus::Stopped:
            return runtime::ContainerStatus::Stopped;
    }
    std::unreachable();
}

void log_failure(const Result<void>& result) {
    if (!result) {
        log::warn("the guest refused", {{"error", result.error().message()}});
    }
}

}  // namespace

Pod::Pod(EventLoop& loop, Options options, Callbacks callbacks)
    : loop_(loop), options_(std::move(options)), callbacks_(std::move(callbacks)) {}

Pod::~Pod() = default;

Result<void> Pod::listen() {
    listener_ = TRY(listen_unix_at(directory_->fd(), "shim.sock"));
    listener_watch_ = TRY(loop_.watch(listener_.ref(), EPOLLIN, [this](std::uint32_t) {
        if (Result<Fd> client = accept_client(listener_.ref())) {
            callbacks_.on_client(*std::move(client));
        }
    }));
    return {};
}

Result<Pod::Process*> Pod::find(const ProcessId& id) {
    const auto found = processes_.find(id.exec);
    if (id.container != options_.id || found == processes_.end()) {
        return Error(Code::NotFound, id.exec.empty()
                                         ? "container '" + id.container + "' does not exist"
                                         : "process '" + id.exec + "' does not exist");
    }
    return &found->second;
}

Result<Pod::Process*> Pod::find_live(const ProcessId& id) {
    Process* process = TRY(find(id));
    if (phase_ != Phase::Live || process->status == TaskStatus::Stopped) {
        return Error(Code::FailedPrecondition, "container not running");
    }
    return process;
}

void Pod::create(runtime::TaskCreate request, OnResult<std::uint32_t> done) {
    if (phase_ != Phase::Empty) {
        return done(Error(Code::AlreadyExists, "this shim has a container already"));
    }
    on_created_ = std::move(done);
    phase_ = Phase::Creating;
    if (Result<void> begun = begin_create(std::move(request)); !begun) {
        end_create(std::move(begun));
        end_remove();
    }
}

Result<void> Pod::begin_create(runtime::TaskCreate request) {
    if (request.id != options_.id) {
        return Error(Code::InvalidArgument, "this shim is for '" + options_.id + "'");
    }
    TRY(runtime::check_container_id(request.id));
    bundle_ = TRY(runtime::load_bundle(request.bundle));
    bundle_.container.id = request.id;
    bundle_.container.root_disk_serial = kRootDiskSerial;
    Sandbox::Disks disks{.root_path = bundle_.root_path, .scratch = {}};
    if (!bundle_.container.root_read_only && options_.scratch != Bytes(0)) {
        bundle_.container.scratch_disk_serial = kScratchDiskSerial;
        disks.scratch = options_.scratch;
    }
    directory_ = TRY(PodDirectory::create(options_.root, request.id, jail_user(::getpid())));
    TRY(listen());
    isolation_ = choose_isolation(options_.isolation);
    created_at_ = runtime::timestamp_now();
    runtime::ProcessSpec& spec = bundle_.container.process;
    Process& process = processes_[""];
    process.terminal = spec.terminal;
    process.proxy_pid = request.io.proxy_pid;
    request.io.terminal = spec.terminal;
    const ProcessId id{.container = options_.id, .exec = ""};
    process.io = TRY(open_io(id, std::move(request.io), spec.window));
    spec.streams = process.io->streams();
    sandbox_ =
        TRY(Sandbox::start(loop_, options_, *directory_, disks, isolation_,
                           {.on_up =
                                [this](Result<void> up) {
                                    if (!up) {
                                        return end_create(std::move(up));
                                    }
                                    create_in_guest();
                                },
                            .on_down = [this](const std::string& reason) { on_down(reason); }}));
    return {};
}

Result<std::unique_ptr<ProcessIo>> Pod::open_io(const ProcessId& id, runtime::TaskIo io,
                                                runtime::WindowSize window) {
    return ProcessIo::create(
        loop_, std::move(io), window,
        {.on_output_written =
             [this, id] {
                 if (auto process = find(id)) {
                     answer_waiters(**process);
                 }
             },
         .on_resize = [this, id](runtime::WindowSize size) { resize(id, size, log_failure); },
         .on_signal = [this, id](std::uint32_t signal) { kill(id, signal, false, log_failure); },
         .on_proxy_gone = [this, id] { kill(id, SIGKILL, false, log_failure); }});
}

void Pod::create_in_guest() {
    sandbox_->guest().create(bundle_.container, [this](Result<runtime::StreamNumbers> numbers) {
        attach({.container = options_.id, .exec = ""}, std::move(numbers),
               [this](Result<void> attached) { end_create(std::move(attached)); });
    });
}

void Pod::attach(const ProcessId& id, Result<runtime::StreamNumbers> numbers, OnResult<void> done) {
    if (!numbers) {
        return done(std::move(numbers).error());
    }
    if (!sandbox_) {
        return done(Error(Code::Aborted, "the microVM ended"));
    }
    sandbox_->guest().wait(id, [this, id](const Result<std::uint32_t>& status) {
        if (status) {
            on_exit(id, *status, "");
        }
        // Without an answer the link is gone, and on_down() tells.
    });
    sandbox_->connect_streams(
        *numbers, [this, id, done = std::move(done)](Result<Sandbox::Connected> connected) mutable {
            Result<Process*> process = find(id);
            if (!connected || !process) {
                return done(!connected ? std::move(connected).error() : std::move(process).error());
            }
            if (!(*process)->io) {
                return done(Error(Code::Aborted, "the process ended"));
            }
            done((*process)->io->attach(std::move(connected->in), std::move(connected->out),
                                        std::move(connected->err)));
        });
}

void Pod::end_create(Result<void> created) {
    OnResult<std::uint32_t> done = std::exchange(on_created_, nullptr);
    if (!done) {
        return;
    }
    if (created) {
        phase_ = Phase::Live;
        write_state();
        return done(processes_[""].proxy_pid);
    }
    phase_ = Phase::Removing;
    is_ending_ = true;
    create_error_ = std::move(created).error();
    on_created_ = std::move(done);  // answered when all is undone
    if (sandbox_) {
        sandbox_->shut_down();
    }
}

void Pod::on_down(const std::string& reason) {
    log::info("the microVM ended", {{"id", options_.id}, {"reason", reason}});
    // Not in the sandbox's own call.
    loop_.post([gone = std::shared_ptr<Sandbox>(std::move(sandbox_))] {});
    std::vector<std::string> running;
    for (const auto& [exec, process] : processes_) {
        if (process.status != TaskStatus::Stopped) {
            running.push_back(exec);
        }
    }
    for (const std::string& exec : running) {
        on_exit({.container = options_.id, .exec = exec}, kLostStatus,
                "the microVM ended: " + reason);
    }
    if (phase_ == Phase::Removing) {
        return end_remove();
    }
    phase_ = Phase::Down;
    write_state();
}

void Pod::on_exit(const ProcessId& id, std::uint32_t status, const std::string& failure) {
    const Result<Process*> found = find(id);
    if (!found || (*found)->status == TaskStatus::Stopped) {
        return;
    }
    Process& process = **found;
    process.status = TaskStatus::Stopped;
    process.exit_status = status;
    process.failure = failure;
    process.io->exited(status);
    if (id.exec.empty() && phase_ == Phase::Live) {
        write_state();
    }
    answer_waiters(process);
}

void Pod::answer_waiters(Process& process) {
    if (process.status != TaskStatus::Stopped) {
        return;
    }
    // A lost guest writes no more, and the pumps of its connections end by themselves.
    if (process.failure.empty() && process.io && !process.io->is_output_written()) {
        return;
    }
    for (auto& waiter : std::exchange(process.waiters, {})) {
        if (process.failure.empty()) {
            waiter(runtime::TaskExit{.exit_status = process.exit_status});
        } else {
            waiter(Error(Code::Aborted, process.failure));
        }
    }
}

void Pod::start(ProcessId id, OnResult<runtime::TaskStarted> done) {
    Result<Process*> process = find_live(id);
    if (!process) {
        return done(std::move(process).error());
    }
    if ((*process)->status != TaskStatus::Created) {
        return done(Error(Code::FailedPrecondition, "it was started before"));
    }
    sandbox_->guest().start(
        id, [this, id, done = std::move(done)](Result<runtime::Started> started) mutable {
            if (!started) {
                return done(std::move(started).error());
            }
            const Result<Process*> now = find(id);
            if (now && started->exec_errno == 0 && (*now)->status == TaskStatus::Created) {
                (*now)->status = TaskStatus::Running;
                write_state();
            }
            done(runtime::TaskStarted{.pid = now ? (*now)->proxy_pid : 0,
                                      .exec_errno = started->exec_errno});
        });
}

void Pod::exec(runtime::TaskExec request, OnResult<void> done) {
    const ProcessId own{.container = request.id.container, .exec = ""};
    Result<Process*> container = find_live(own);
    if (!container) {
        return done(std::move(container).error());
    }
    if ((*container)->status != TaskStatus::Running) {
        return done(Error(Code::FailedPrecondition, "container not running"));
    }
    if (request.id.exec.empty() || processes_.contains(request.id.exec)) {
        return done(Error(Code::AlreadyExists, "process '" + request.id.exec + "' exists"));
    }
    if (!make_room()) {
        return done(Error(Code::ResourceExhausted,
                          "a pod has at most " + std::to_string(kProcessesMax) + " processes"));
    }
    request.io.terminal = request.process.terminal;
    const std::uint32_t proxy_pid = request.io.proxy_pid;
    Result<std::unique_ptr<ProcessIo>> io =
        open_io(request.id, std::move(request.io), request.process.window);
    if (!io) {
        return done(std::move(io).error());
    }
    request.process.streams = (*io)->streams();
    Process& process = processes_[request.id.exec];
    process.terminal = request.process.terminal;
    process.proxy_pid = proxy_pid;
    process.io = *std::move(io);
    sandbox_->guest().exec(
        request.id, request.process,
        [this, id = request.id,
         done = std::move(done)](Result<runtime::StreamNumbers> numbers) mutable {
            attach(id, std::move(numbers),
                   [this, id, done = std::move(done)](Result<void> attached) mutable {
                       if (!attached) {
                           processes_.erase(id.exec);
                       }
                       done(std::move(attached));
                   });
        });
}

// Whose client never came back for its status would fill the table in the end.
bool Pod::make_room() {
    if (processes_.size() < kProcessesMax) {
        return true;
    }
    for (auto it = processes_.begin(); it != processes_.end(); ++it) {
        if (!it->first.empty() && it->second.status == TaskStatus::Stopped) {
            sandbox_->guest().remove({.container = options_.id, .exec = it->first}, log_failure);
            processes_.erase(it);
            return true;
        }
    }
    return false;
}

void Pod::state(ProcessId id, OnResult<runtime::TaskState> done) {
    Result<Process*> process = find(id);
    if (!process) {
        return done(std::move(process).error());
    }
    done(runtime::TaskState{
        .id = options_.id,
        .bundle = bundle_.directory,
        .pid = (*process)->proxy_pid,
        .status = phase_ == Phase::Creating ? TaskStatus::Unknown : (*process)->status,
        .exit_status = (*process)->exit_status,
        .terminal = (*process)->terminal});
}

void Pod::kill(ProcessId id, std::uint32_t signal, bool all, OnResult<void> done) {
    Result<Process*> process = find_live(id);
    if (!process) {
        return done(std::move(process).error());
    }
    sandbox_->guest().signal(id, signal, all, std::move(done));
}

void Pod::wait(ProcessId id, OnResult<runtime::TaskExit> done) {
    Result<Process*> process = find(id);
    if (!process) {
        return done(std::move(process).error());
    }
    (*process)->waiters.push_back(std::move(done));
    answer_waiters(**process);
}

void Pod::resize(ProcessId id, runtime::WindowSize size, OnResult<void> done) {
    Result<Process*> process = find_live(id);
    if (!process) {
        return done(std::move(process).error());
    }
    sandbox_->guest().resize(id, size, std::move(done));
}

void Pod::close_stdin(ProcessId id, OnResult<void> done) {
    Result<Process*> process = find_live(id);
    if (!process) {
        return done(std::move(process).error());
    }
    (*process)->io->close_stdin();
    done({});
}

void Pod::remove(ProcessId id, OnResult<runtime::TaskExit> done) {
    Result<Process*> process = find(id);
    if (!process) {
        return done(std::move(process).error());
    }
    if ((*process)->status == TaskStatus::Running || phase_ == Phase::Creating) {
        return done(Error(Code::FailedPrecondition, "container is running; kill it first"));
    }
    if (phase_ == Phase::Removing) {
        return done(Error(Code::FailedPrecondition, "it is being deleted"));
    }
    if (!id.exec.empty()) {
        const std::uint32_t status = (*process)->exit_status;
        if (sandbox_) {
            sandbox_->guest().remove(id, log_failure);
        }
        processes_.erase(id.exec);
        return done(runtime::TaskExit{.exit_status = status});
    }
    on_removed_ = std::move(done);
    if (!sandbox_) {
        return end_remove();
    }
    phase_ = Phase::Removing;
    sandbox_->shut_down();
}

void Pod::end_remove() {
    const auto own = processes_.find("");
    const std::uint32_t status = own == processes_.end() ? 0 : own->second.exit_status;
    listener_watch_.cancel();
    listener_ = Fd();
    directory_.reset();
    phase_ = Phase::Removed;
    if (create_error_) {
        Error reason = *std::move(create_error_);
        create_error_.reset();
        if (OnResult<std::uint32_t> done = std::exchange(on_created_, nullptr)) {
            done(std::move(reason));
        }
    }
    if (OnResult<runtime::TaskExit> done = std::exchange(on_removed_, nullptr)) {
        done(runtime::TaskExit{.exit_status = status});
    }
    processes_.clear();
    loop_.post([this] { callbacks_.on_over(); });
}

void Pod::shutdown(bool now, OnResult<void> done) {
    is_ending_ = is_ending_ || now || is_over();
    if (now && !is_over() && phase_ != Phase::Removing) {
        on_removed_ = [done = std::move(done)](const Result<runtime::TaskExit>&) mutable {
            done({});
        };
        if (!sandbox_) {
            return end_remove();
        }
        phase_ = Phase::Removing;
        return sandbox_->shut_down();
    }
    done({});
    loop_.post([this] { callbacks_.on_over(); });
}

void Pod::write_state() {
    const Process& process = processes_[""];
    runtime::ContainerState state;
    state.oci_version = bundle_.oci_version;
    state.id = options_.id;
    state.status = to_container_status(process.status);
    state.pid = process.status == TaskStatus::Stopped ? 0 : process.proxy_pid;
    state.bundle = bundle_.directory;
    state.annotations = bundle_.annotations;
    state.created = created_at_;
    state.isolation = to_string(isolation_.isolation);
    state.isolation_reason = isolation_.reason;
    // What is over needs no identification, and nobody may look for its pid.
    state.shim = runtime::identify_process(static_cast<std::uint32_t>(::getpid()))
                     .value_or(runtime::HostProcess());
    if (sandbox_) {
        state.vmm = runtime::identify_process(static_cast<std::uint32_t>(sandbox_->machine_pid()))
                        .value_or(runtime::HostProcess());
    }
    const Result<void> written = runtime::write_state(directory_->fd(), state);
    if (!written) {
        log::warn("the state file is out of date", {{"error", written.error().message()}});
    }
}

}  // namespace pepita::shim
