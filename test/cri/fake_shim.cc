// A pepita-shim without a guest: it remembers, and does what the tests of pepita-cri tell it by
// what they ask. What it was asked is noted in <root>/asked, a line for each.
//
// A pod of kCannotBootMib does not boot. A container's first argument is what it does: "run" until
// it is killed, "exit:N" at once, "oom" as one that the kernel killed, "stubborn" as run, but only
// SIGKILL ends it, "no-create", "no-start", "panic" as one that ends the guest with all in it.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_api.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"
#include "runtime/sandbox_api.h"
#include "runtime/task_api.h"

namespace pepita::runtime {
namespace {

constexpr std::uint64_t kCannotBootMib = 111;
constexpr std::int64_t kTooLarge = 99;

struct Task {
    ProcessSpec spec;
    TaskIo io;
    TaskStatus status = TaskStatus::Created;
    std::uint32_t exit_status = 0;
    bool is_lost = false;
    std::vector<OnResult<TaskExit>> waiting;
};

class FakeShim : public TaskService, public SandboxService, public PodService {
public:
    explicit FakeShim(EventLoop& loop) : loop_(loop) {}

    Result<void> add(Fd socket) {
        TRY(set_nonblocking(socket.ref()));
        const auto place = clients_.emplace(clients_.end());
        *place = TRY(Channel::create(
            loop_, std::move(socket),
            {.on_call =
                 [this](Channel::Call call) {
                     note(call.method);
                     if (is_sandbox_call(call)) {
                         dispatch(static_cast<SandboxService&>(*this), std::move(call));
                     } else if (is_pod_call(call)) {
                         dispatch(static_cast<PodService&>(*this), std::move(call));
                     } else {
                         dispatch(static_cast<TaskService&>(*this), std::move(call));
                     }
                 },
             .on_closed =
                 [this, place](const Error&) {
                     clients_.erase(place);
                     if (is_over_ && clients_.empty()) {
                         loop_.stop();
                     }
                 }}));
        return {};
    }

    // The pod API.

    void user(std::string container, OnResult<UserIds> done) override {
        const Task* task = find({.container = std::move(container), .exec = ""});
        if (task == nullptr) {
            return done(missing());
        }
        const ProcessSpec& spec = task->spec;
        done(UserIds{.uid = spec.uid, .gid = spec.gid, .groups = spec.additional_gids});
    }

    // The sandbox API.

    void create_sandbox(PodSpec spec, OnResult<void> done) override {
        spec_ = std::move(spec);
        has_pod_ = true;
        const std::string directory = spec_.root + "/" + spec_.name;
        const auto listen = [&]() -> Result<void> {
            TRY(make_directory(spec_.root, 0755));
            TRY(make_directory(directory, 0700));
            listener_ = TRY(
                Listener::create(loop_, TRY(listen_unix(directory + "/shim.sock")),
                                 [this](Fd client) { (void)add(std::move(client)).has_value(); }));
            return {};
        };
        done(listen());
    }
    void start_sandbox(OnResult<SandboxStarted> done) override {
        if (spec_.memory_mib == kCannotBootMib) {
            return done(Error(Code::Unavailable, "the guest did not answer"));
        }
        is_ready_ = true;
        done(SandboxStarted{.pid = static_cast<std::uint32_t>(::getpid()), .created_at_ns = 1});
    }
    void stop_sandbox(std::chrono::seconds /*patience*/, OnResult<void> done) override {
        is_ready_ = false;
        for (auto& [id, task] : tasks_) {
            end(task, 137);
        }
        for (auto& waiter : std::exchange(on_down_, {})) {
            waiter(TaskExit{});
        }
        done({});
    }
    static Error lost() { return Error(Code::Aborted, "the microVM ended: panic"); }
    // As a microVM that ends by itself.
    void lose_all() {
        is_ready_ = false;
        for (auto& [id, task] : tasks_) {
            task.is_lost = task.status != TaskStatus::Stopped;
            task.status = TaskStatus::Stopped;
            for (auto& waiter : std::exchange(task.waiting, {})) {
                waiter(lost());
            }
        }
        for (auto& waiter : std::exchange(on_down_, {})) {
            waiter(TaskExit{});
        }
    }
    void wait_sandbox(OnResult<TaskExit> done) override { on_down_.push_back(std::move(done)); }
    void sandbox_status(OnResult<SandboxStatus> done) override {
        done(SandboxStatus{.pid = static_cast<std::uint32_t>(::getpid()),
                           .is_ready = is_ready_,
                           .created_at_ns = 1,
                           .exited_at_ns = 0,
                           .info = {{"isolation", "fake"}}});
    }
    void shutdown_sandbox(OnResult<void> done) override {
        is_over_ = true;
        listener_.reset();
        const std::string directory = spec_.root + "/" + spec_.name;
        (void)::unlink((directory + "/shim.sock").c_str());
        (void)::rmdir(directory.c_str());
        done({});
    }
    void sandbox_stats(OnResult<ContainerStats> done) override {
        done(ContainerStats{.cpu_usage_us = 500, .memory_bytes = 8192, .pids = 3});
    }
    const std::string& sandbox_id() const override { return spec_.name; }

    // The task API.

    void create(TaskCreate request, OnResult<std::uint32_t> done) override {
        const Result<Bundle> bundle = load_bundle(request.bundle);
        if (!bundle) {
            return done(Error(bundle.error().code(), bundle.error().message()));
        }
        if (bundle->container.process.args.front() == "no-create") {
            return done(Error(Code::FailedPrecondition, "there is no room"));
        }
        Task& task = tasks_[{request.id, ""}];
        task.spec = bundle->container.process;
        task.io = std::move(request.io);
        done(0);
    }
    void exec(TaskExec request, OnResult<void> done) override {
        Task& task = tasks_[{request.id.container, request.id.exec}];
        task.spec = std::move(request.process);
        task.io = std::move(request.io);
        done({});
    }
    void start(ProcessId id, OnResult<TaskStarted> done) override {
        Task* task = find(id);
        if (task == nullptr) {
            return done(missing());
        }
        const std::string& what = task->spec.args.front();
        if (what == "no-start") {
            end(*task, 127);
            return done(TaskStarted{.pid = 0, .exec_errno = ENOENT});
        }
        task->status = TaskStatus::Running;
        done(TaskStarted{.pid = 0, .exec_errno = 0});
        if (what == "echo" && task->io.out.fd) {
            (void)write_all(task->io.out.fd->ref(), task->spec.args.at(1), "output").has_value();
        }
        if (what.starts_with("exit:")) {
            end(*task, static_cast<std::uint32_t>(std::atoi(what.c_str() + 5)));
        } else if (what == "oom") {
            oom_kills_ = 1;
            end(*task, 137);
        } else if (what == "echo") {
            end(*task, 0);
        } else if (what == "panic") {
            lose_all();
        }
    }
    void state(ProcessId id, OnResult<TaskState> done) override {
        const Task* task = find(id);
        if (task == nullptr) {
            return done(missing());
        }
        TaskState state;
        state.id = id.container;
        state.status = task->status;
        state.exit_status = task->exit_status;
        done(std::move(state));
    }
    void kill(ProcessId id, std::uint32_t signal, bool /*all*/, OnResult<void> done) override {
        Task* task = find(id);
        if (task == nullptr || task->status == TaskStatus::Stopped) {
            return done(missing());
        }
        note("signal " + std::to_string(signal));
        if (task->spec.args.front() != "stubborn" || signal == SIGKILL) {
            end(*task, 128 + signal);
        }
        done({});
    }
    void wait(ProcessId id, OnResult<TaskExit> done) override {
        Task* task = find(id);
        if (task == nullptr) {
            return done(missing());
        }
        if (task->status == TaskStatus::Stopped) {
            return done(task->is_lost ? Result<TaskExit>(lost()) : exit_of(*task));
        }
        task->waiting.push_back(std::move(done));
    }
    void remove(ProcessId id, OnResult<TaskExit> done) override {
        const auto found = tasks_.find({id.container, id.exec});
        if (found == tasks_.end()) {
            return done(missing());
        }
        if (found->second.status != TaskStatus::Stopped) {
            return done(Error(Code::FailedPrecondition, "it runs"));
        }
        const TaskExit exit = exit_of(found->second);
        tasks_.erase(found);
        done(exit);
    }
    void stats(std::string /*container*/, OnResult<ContainerStats> done) override {
        done(ContainerStats{.cpu_usage_us = 300,
                            .memory_bytes = 4096,
                            .memory_inactive_file_bytes = 96,
                            .oom_kills = oom_kills_,
                            .pids = 2});
    }
    void update(std::string container, ResourcesSpec resources, OnResult<void> done) override {
        if (!container.empty() && find({.container = container, .exec = ""}) == nullptr) {
            return done(missing());
        }
        if (resources.memory_limit_bytes == kTooLarge) {
            return done(Error(Code::ResourceExhausted, "no room"));
        }
        note((container.empty() ? "pod's memory " : "memory ") +
             std::to_string(resources.memory_limit_bytes.value_or(0)));
        done({});
    }
    void resize(ProcessId /*id*/, WindowSize /*size*/, OnResult<void> done) override { done({}); }
    void close_stdin(ProcessId /*id*/, OnResult<void> done) override { done({}); }
    void pids(std::string /*id*/, OnResult<std::vector<TaskProcess>> done) override {
        done(std::vector<TaskProcess>());
    }
    void pause(std::string /*id*/, OnResult<void> done) override { done({}); }
    void resume(std::string /*id*/, OnResult<void> done) override { done({}); }
    void connect(std::string /*id*/, OnResult<TaskConnection> done) override {
        done(TaskConnection());
    }
    void shutdown(bool /*now*/, OnResult<bool> done) override { done(true); }

    // The pod API.

    void reopen_log(std::string container, OnResult<void> done) override {
        note("log of " + std::to_string(container.size()));
        done({});
    }
    void attach(AttachRequest request, OnResult<void> done) override {
        (void)write_all(request.out.ref(), "attached", "output").has_value();
        done({});
    }
    void connect_port(std::uint16_t port, Fd socket, OnResult<void> done) override {
        (void)write_all(socket.ref(), std::to_string(port), "socket").has_value();
        done({});
    }

private:
    static Error missing() { return {Code::NotFound, "no such process"}; }
    static TaskExit exit_of(const Task& task) {
        return {.exit_status = task.exit_status, .exited_at_ns = 1'000, .pid = 0};
    }
    Task* find(const ProcessId& id) {
        const auto found = tasks_.find({id.container, id.exec});
        return found == tasks_.end() ? nullptr : &found->second;
    }
    static void end(Task& task, std::uint32_t status) {
        if (task.status == TaskStatus::Stopped) {
            return;
        }
        task.status = TaskStatus::Stopped;
        task.exit_status = status;
        task.io = {};
        for (auto& waiter : std::exchange(task.waiting, {})) {
            waiter(exit_of(task));
        }
    }
    void note(const std::string& what) const {
        if (has_pod_) {
            std::ofstream(spec_.root + "/asked", std::ios::app) << what << '\n';
        }
    }

    EventLoop& loop_;
    std::list<std::shared_ptr<Channel>> clients_;
    std::unique_ptr<Listener> listener_;
    bool has_pod_ = false;
    PodSpec spec_;
    bool is_ready_ = false;
    bool is_over_ = false;
    std::uint64_t oom_kills_ = 0;
    std::map<std::pair<std::string, std::string>, Task> tasks_;
    std::vector<OnResult<TaskExit>> on_down_;
};

Result<void> run() {
    (void)::signal(SIGPIPE, SIG_IGN);
    const auto loop = TRY(EventLoop::create());
    FakeShim shim(*loop);
    TRY(shim.add(Fd(kShimSocketNumber)));
    return loop->run();
}

}  // namespace
}  // namespace pepita::runtime

int main() { return pepita::runtime::run() ? 0 : 1; }
