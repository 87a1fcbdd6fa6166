#include "shim/container.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_api.h"
#include "runtime/pod_role.h"
#include "runtime/rpc/log_json.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/microvm.h"
#include "shim/process.h"

namespace pepita::shim {
namespace {

using runtime::OnResult;
using runtime::ProcessId;
using runtime::TaskStatus;

void log_failure(const Result<void>& result) {
    if (!result) {
        log::warn("the guest refused", {{"error", result.error().message()}});
    }
}

}  // namespace

Container::Container(EventLoop& loop, runtime::Bundle bundle, Callbacks callbacks)
    : loop_(loop),
      bundle_(std::move(bundle)),
      callbacks_(std::move(callbacks)),
      is_pod_(runtime::pod_role(bundle_.annotations).kind == runtime::PodRole::Kind::Pod),
      created_at_(runtime::timestamp_now()) {}

Result<std::shared_ptr<Container>> Container::create(EventLoop& loop, runtime::Bundle bundle,
                                                     runtime::TaskIo io, Callbacks callbacks) {
    std::shared_ptr<Container> made(new Container(loop, std::move(bundle), std::move(callbacks)));
    runtime::ProcessSpec& spec = made->bundle_.container.process;
    io.terminal = spec.terminal;
    const ProcessId id{.container = made->id(), .exec = ""};
    auto own = TRY(made->open_process(id, std::move(io), spec.window));
    spec.streams = own->streams();
    made->processes_.emplace("", std::move(own));
    return made;
}

Result<std::shared_ptr<Process>> Container::open_process(const ProcessId& id, runtime::TaskIo io,
                                                         runtime::WindowSize window) {
    // We own the process, so we are there when it calls.
    return Process::create(
        loop_, id, std::move(io), window,
        {.on_stopped =
             [this, exec = id.exec] {
                 if (exec.empty()) {
                     callbacks_.on_change();
                 }
             },
         .on_event =
             [this, exec = id.exec](runtime::TaskEvent::Kind kind) {
                 tell(kind, exec);
                 if (kind == runtime::TaskEvent::Kind::Exit) {
                     look_for_oom();
                 }
             },
         .on_resize =
             [this, exec = id.exec](runtime::WindowSize size) { resize(exec, size, log_failure); },
         .on_signal = [this, id](std::uint32_t signal) { callbacks_.on_signal(id, signal); }});
}

void Container::tell(runtime::TaskEvent::Kind kind, const std::string& exec) {
    if (Result<runtime::TaskState> task = state(exec)) {
        callbacks_.on_event(
            {.kind = kind, .process = {.container = id(), .exec = exec}, .task = *std::move(task)});
    }
}

// The guest counts them, and tells nobody.
void Container::look_for_oom() {
    if (microvm_ == nullptr || !is_in_guest_) {
        return;
    }
    microvm_->guest().stats(
        id(), [weak = weak_from_this()](const Result<runtime::ContainerStats>& stats) {
            const auto self = weak.lock();
            if (self && stats && stats->oom_kills > self->oom_kills_) {
                self->oom_kills_ = stats->oom_kills;
                self->tell(runtime::TaskEvent::Kind::Oom, "");
            }
        });
}

TaskStatus Container::status() const { return status_of(own()); }

TaskStatus Container::status_of(const Process& process) const {
    if (is_creating_) {
        return TaskStatus::Unknown;
    }
    const bool stands = is_paused_ && process.status() != TaskStatus::Stopped;
    return stands ? TaskStatus::Paused : process.status();
}

void Container::enter_as_pod(Microvm& microvm) {
    microvm_ = &microvm;
    is_creating_ = false;
}

void Container::enter(Microvm& microvm, const RootDisks& disks, OnResult<void> done) {
    microvm_ = &microvm;
    is_in_guest_ = true;
    microvm.place(bundle_, disks);
    microvm.guest().create(bundle_.container, [weak = weak_from_this(), done = std::move(done)](
                                                  Result<runtime::StreamNumbers> numbers) mutable {
        const auto self = weak.lock();
        if (!numbers) {
            return done(std::move(numbers).error());
        }
        if (!self || self->microvm_ == nullptr) {
            return done(Error(Code::Aborted, "the microVM ended"));
        }
        self->processes_.at("")->attach(
            *self->microvm_, *numbers,
            [weak, done = std::move(done)](Result<void> attached) mutable {
                if (const auto still = weak.lock(); still && attached) {
                    still->is_creating_ = false;
                }
                done(std::move(attached));
            });
    });
}

void Container::leave(OnResult<void> done) {
    if (microvm_ == nullptr || !is_in_guest_) {
        return done({});
    }
    microvm_->guest().remove({.container = id(), .exec = ""}, std::move(done));
}

void Container::lose(const std::string& reason) {
    microvm_ = nullptr;
    // A copy, because a waiter may delete a process.
    for (const auto& [exec, process] : std::map(processes_)) {
        process->lose(reason);
    }
}

Result<Process*> Container::find(const std::string& exec) const {
    const auto found = processes_.find(exec);
    if (found == processes_.end()) {
        return Error(Code::NotFound, "process '" + exec + "' does not exist");
    }
    return found->second.get();
}

Result<Process*> Container::find_live(const std::string& exec) const {
    Process* process = TRY(find(exec));
    if (is_creating_) {
        return Error(Code::FailedPrecondition, "container is being created");
    }
    if (microvm_ == nullptr || process->status() == TaskStatus::Stopped) {
        return Error(Code::FailedPrecondition, "container not running");
    }
    return process;
}

Result<Process*> Container::find_active(const std::string& exec) const {
    Process* process = TRY(find_live(exec));
    if (is_paused_) {
        return Error(Code::FailedPrecondition, "container is paused");
    }
    return process;
}

void Container::start(const std::string& exec, OnResult<runtime::TaskStarted> done) {
    Result<Process*> process = find_active(exec);
    if (!process) {
        return done(std::move(process).error());
    }
    if (is_pod_) {
        return done(start_as_pod());
    }
    (*process)->start(*microvm_, [weak = weak_from_this(), done = std::move(done)](
                                     Result<runtime::TaskStarted> started) mutable {
        if (const auto self = weak.lock(); self && started) {
            self->callbacks_.on_change();
        }
        done(std::move(started));
    });
}

Result<runtime::TaskStarted> Container::start_as_pod() {
    Process& own = *processes_.at("");
    TRY(own.start_alone());
    callbacks_.on_change();
    return runtime::TaskStarted{.pid = own.proxy_pid(), .exec_errno = 0};
}

void Container::exec(runtime::TaskExec request, OnResult<void> done) {
    Result<Process*> container = find_active("");
    if (!container) {
        return done(std::move(container).error());
    }
    if (is_pod_) {
        return done(Error(Code::FailedPrecondition, "the pod's own container has no process"));
    }
    if (request.id.exec.empty() || processes_.contains(request.id.exec)) {
        return done(Error(Code::AlreadyExists, "process '" + request.id.exec + "' exists"));
    }
    if (!make_room()) {
        return done(
            Error(Code::ResourceExhausted,
                  "a container has at most " + std::to_string(kProcessesMax) + " processes"));
    }
    request.io.terminal = request.process.terminal;
    auto opened = open_process(request.id, std::move(request.io), request.process.window);
    if (!opened) {
        return done(std::move(opened).error());
    }
    request.process.streams = (*opened)->streams();
    processes_.emplace(request.id.exec, *std::move(opened));
    // A step that fails undoes the steps before it.
    auto finish = [weak = weak_from_this(), exec = request.id.exec,
                   done = std::move(done)](Result<void> made) mutable {
        const auto self = weak.lock();
        if (self && made) {
            self->tell(runtime::TaskEvent::Kind::Create, exec);
        }
        if (self && !made && self->processes_.erase(exec) != 0 && self->microvm_ != nullptr) {
            self->microvm_->guest().remove({.container = self->id(), .exec = exec},
                                           [](const Result<void>& /*nothing of it is there*/) {});
        }
        done(std::move(made));
    };
    microvm_->guest().exec(
        request.id, request.process,
        [weak = weak_from_this(), exec = request.id.exec,
         finish = std::move(finish)](Result<runtime::StreamNumbers> numbers) mutable {
            const auto self = weak.lock();
            if (!numbers) {
                return finish(std::move(numbers).error());
            }
            if (!self || self->microvm_ == nullptr || !self->processes_.contains(exec)) {
                return finish(Error(Code::Aborted, "the microVM ended"));
            }
            self->processes_.at(exec)->attach(*self->microvm_, *numbers, std::move(finish));
        });
}

// A client that never comes back for its status would fill the table in the end.
bool Container::make_room() {
    if (processes_.size() < kProcessesMax) {
        return true;
    }
    for (const auto& [exec, process] : processes_) {
        if (!exec.empty() && process->status() == TaskStatus::Stopped) {
            microvm_->guest().remove(process->id(), log_failure);
            processes_.erase(exec);
            return true;
        }
    }
    return false;
}

Result<runtime::TaskState> Container::state(const std::string& exec) const {
    const Process* process = TRY(find(exec));
    runtime::TaskState state;
    process->describe(state);
    state.id = id();
    state.bundle = bundle_.directory;
    state.status = status_of(*process);
    return state;
}

std::vector<runtime::TaskProcess> Container::pids() const {
    std::vector<runtime::TaskProcess> found;
    if (const auto own =
            microvm_ != nullptr && is_in_guest_ ? microvm_->pids(id()) : std::nullopt) {
        for (const std::uint32_t pid : *own) {
            found.push_back({.pid = pid, .exec = ""});
        }
        return found;
    }
    for (const auto& [exec, process] : processes_) {
        if (process->status() != TaskStatus::Stopped && process->proxy_pid() != 0) {
            found.push_back({.pid = process->proxy_pid(), .exec = exec});
        }
    }
    return found;
}

Result<void> Container::check_in_guest() const {
    (void)TRY(find_live(""));
    if (is_pod_) {
        return Error(Code::FailedPrecondition, "the pod's own container has no process");
    }
    return {};
}

void Container::pause(OnResult<void> done) {
    Result<void> checked = check_in_guest();
    if (checked && is_paused_) {
        checked = Error(Code::FailedPrecondition, "container is paused");
    }
    if (!checked) {
        return done(std::move(checked));
    }
    microvm_->guest().pause(
        id(), [weak = weak_from_this(), done = std::move(done)](Result<void> paused) mutable {
            if (const auto self = weak.lock(); self && paused) {
                self->is_paused_ = true;
                self->callbacks_.on_change();
                self->tell(runtime::TaskEvent::Kind::Paused, "");
            }
            done(std::move(paused));
        });
}

void Container::resume(OnResult<void> done) {
    Result<void> checked = check_in_guest();
    if (checked && !is_paused_) {
        checked = Error(Code::FailedPrecondition, "container not paused");
    }
    if (!checked) {
        return done(std::move(checked));
    }
    microvm_->guest().resume(
        id(), [weak = weak_from_this(), done = std::move(done)](Result<void> resumed) mutable {
            if (const auto self = weak.lock(); self && resumed) {
                self->is_paused_ = false;
                self->callbacks_.on_change();
                self->tell(runtime::TaskEvent::Kind::Resumed, "");
            }
            done(std::move(resumed));
        });
}

void Container::update(const runtime::ResourcesSpec& changes, OnResult<void> done) {
    if (Result<void> checked = check_in_guest(); !checked) {
        return done(std::move(checked));
    }
    runtime::ResourcesSpec wanted = runtime::merged(bundle_.container.resources, changes);
    microvm_->guest().update(
        id(), wanted,
        [weak = weak_from_this(), wanted, done = std::move(done)](Result<void> updated) mutable {
            if (const auto self = weak.lock(); self && updated) {
                self->bundle_.container.resources = std::move(wanted);
            }
            done(std::move(updated));
        });
}

void Container::stats(OnResult<runtime::ContainerStats> done) {
    // Those of a container that has stopped are there until it is deleted.
    if (is_creating_ || microvm_ == nullptr || is_pod_) {
        return done(Error(Code::FailedPrecondition, "container not running"));
    }
    microvm_->guest().stats(id(), std::move(done));
}

void Container::kill(const std::string& exec, std::uint32_t signal, bool all, OnResult<void> done) {
    Result<Process*> process = find(exec);
    if (process && !is_creating_ && (*process)->status() == TaskStatus::Stopped) {
        // As runc's shim: callers that stop a container take this, and this alone, for done.
        return done(Error(Code::NotFound, "container not running"));
    }
    process = find_live(exec);
    if (!process) {
        return done(std::move(process).error());
    }
    if (is_pod_) {
        // A copy, because a waiter may delete the process.
        const std::shared_ptr<Process> own = processes_.at("");
        own->end_alone(signal);
        return done({});
    }
    microvm_->guest().signal((*process)->id(), signal, all, std::move(done));
}

void Container::wait(const std::string& exec, OnResult<runtime::TaskExit> done) {
    Result<Process*> process = find(exec);
    if (!process) {
        return done(std::move(process).error());
    }
    (*process)->wait(std::move(done));
}

void Container::resize(const std::string& exec, runtime::WindowSize size, OnResult<void> done) {
    Result<Process*> process = find_live(exec);
    if (!process) {
        return done(std::move(process).error());
    }
    if (is_pod_) {
        return done({});
    }
    microvm_->guest().resize((*process)->id(), size, std::move(done));
}

void Container::close_stdin(const std::string& exec, OnResult<void> done) {
    Result<Process*> process = find_live(exec);
    if (!process) {
        return done(std::move(process).error());
    }
    (*process)->close_stdin();
    done({});
}

Result<void> Container::attach_client(runtime::AttachRequest request) {
    Process* const own = TRY(find_live(""));
    return own->attach_client(std::move(request));
}

void Container::user(OnResult<runtime::UserIds> done) {
    if (const Result<void> checked = check_in_guest(); !checked) {
        return done(Error(checked.error().code(), checked.error().message()));
    }
    microvm_->guest().user(id(), std::move(done));
}

Result<void> Container::reopen_log() {
    Process* const own = TRY(find_live(""));
    return own->reopen_log();
}

void Container::remove_exec(const std::string& exec, OnResult<runtime::TaskExit> done) {
    Result<Process*> process = find(exec);
    if (!process) {
        return done(std::move(process).error());
    }
    if ((*process)->status() == TaskStatus::Running) {
        return done(Error(Code::FailedPrecondition, "process is running; kill it first"));
    }
    const runtime::TaskExit exit = (*process)->exit();
    if (microvm_ != nullptr) {
        microvm_->guest().remove((*process)->id(), log_failure);
    }
    processes_.erase(exec);
    done(exit);
}

}  // namespace pepita::shim
