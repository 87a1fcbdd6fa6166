// A pepita-shim without a guest: it runs the container's processes on the host. With it the tests
// see the whole of pepita-run, streams, signals and exit statuses included, in milliseconds.
//
// PEPITA_FAKE_SHIM in the environment makes it misbehave: "dies-in-create", "dies-in-start",
// "dies-later" (once the process runs), "dies-in-state", "hangs" (answers nothing after create).

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/log_json.h"
#include "runtime/rpc/on_result.h"
#include "runtime/state.h"
#include "runtime/task_api.h"

namespace pepita::runtime {
namespace {

struct Options {
    std::string id;
    std::string root;
    std::string_view misbehaviour;
};

/// One process and all that hangs on it.
struct Task {
    ProcessSpec spec;
    TaskIo io;
    std::optional<Child> child;
    std::optional<std::uint32_t> exit_status;
    EventLoop::Watch on_exit;
    EventLoop::Watch on_proxy;
    std::vector<OnResult<TaskExit>> waiting;
};

Error not_found() { return {Code::NotFound, "no such process"}; }

class FakeShim final : public TaskService {
public:
    FakeShim(EventLoop& loop, Options options) : loop_(loop), options_(std::move(options)) {}

    void create(TaskCreate request, OnResult<std::uint32_t> done) override {
        if (options_.misbehaviour == "dies-in-create") {
            ::_exit(1);
        }
        done(make(std::move(request)));
    }

    void start(ProcessId id, OnResult<TaskStarted> done) override {
        if (options_.misbehaviour == "dies-in-start") {
            ::_exit(1);
        }
        if (options_.misbehaviour == "hangs") {
            unanswered_.push_back(std::move(done));
            return;
        }
        done(launch(id));
        if (options_.misbehaviour == "dies-later") {
            ::_exit(1);
        }
    }

    void exec(TaskExec request, OnResult<void> done) override {
        Task& task = tasks_[request.id.exec];
        task.spec = std::move(request.process);
        task.io = std::move(request.io);
        watch_proxy(task);
        done({});
    }

    void state(ProcessId id, OnResult<TaskState> done) override {
        if (options_.misbehaviour == "dies-in-state") {
            ::_exit(1);
        }
        const auto at = tasks_.find(id.exec);
        if (at == tasks_.end()) {
            return done(not_found());
        }
        const Task& task = at->second;
        TaskState state;
        state.id = id.container;
        state.pid = task.io.proxy_pid;
        state.status = task.exit_status ? TaskStatus::Stopped
                       : task.child     ? TaskStatus::Running
                                        : TaskStatus::Created;
        state.exit_status = task.exit_status.value_or(0);
        done(std::move(state));
    }

    void kill(ProcessId id, std::uint32_t signal, bool /*all*/, OnResult<void> done) override {
        const auto at = tasks_.find(id.exec);
        if (at == tasks_.end()) {
            return done(not_found());
        }
        Task& task = at->second;
        if (task.exit_status) {
            return done(not_found());
        }
        if (task.child) {
            task.child->send_signal(static_cast<int>(signal));
        } else {
            finish(task, 128 + signal);
        }
        done({});
    }

    void wait(ProcessId id, OnResult<TaskExit> done) override {
        const auto at = tasks_.find(id.exec);
        if (at == tasks_.end()) {
            return done(not_found());
        }
        Task& task = at->second;
        if (task.exit_status) {
            return done(TaskExit{*task.exit_status});
        }
        task.waiting.push_back(std::move(done));
    }

    void resize(ProcessId /*id*/, WindowSize size, OnResult<void> done) override {
        std::error_code ignored;
        std::filesystem::create_directory_symlink(
            std::to_string(size.columns) + "x" + std::to_string(size.rows), directory() + "/size",
            ignored);
        done({});
    }

    void close_stdin(ProcessId /*id*/, OnResult<void> done) override { done({}); }

    void remove(ProcessId id, OnResult<TaskExit> done) override {
        const auto at = tasks_.find(id.exec);
        if (at == tasks_.end()) {
            return done(not_found());
        }
        const Task& task = at->second;
        if (!task.exit_status) {
            return done(Error(Code::FailedPrecondition, "still runs"));
        }
        const TaskExit exit{*task.exit_status};
        tasks_.erase(at);
        done(exit);
    }

    void pids(std::string /*container*/, OnResult<std::vector<TaskProcess>> done) override {
        std::vector<TaskProcess> processes;
        for (const auto& [exec, task] : tasks_) {
            if (task.io.proxy_pid != 0) {
                processes.push_back({.pid = task.io.proxy_pid, .exec = exec});
            }
        }
        done(std::move(processes));
    }

    void pause(std::string container, OnResult<void> done) override {
        kill({.container = std::move(container), .exec = ""}, SIGSTOP, true, std::move(done));
    }

    void resume(std::string container, OnResult<void> done) override {
        kill({.container = std::move(container), .exec = ""}, SIGCONT, true, std::move(done));
    }

    void update(std::string /*container*/, ResourcesSpec resources, OnResult<void> done) override {
        std::error_code ignored;
        std::filesystem::create_directory_symlink(
            std::to_string(resources.memory_limit_bytes.value_or(0)) + " " +
                std::to_string(resources.cpu_quota_us.value_or(0)) + " " +
                std::to_string(resources.pids_limit.value_or(0)),
            directory() + "/limits", ignored);
        done({});
    }

    void stats(std::string /*container*/, OnResult<ContainerStats> done) override {
        done(ContainerStats{.cpu_usage_us = 300, .memory_bytes = 4096, .pids = 2});
    }

    void connect(std::string /*container*/, OnResult<TaskConnection> done) override {
        done(TaskConnection());
    }

    void shutdown(bool /*now*/, OnResult<bool> done) override {
        std::error_code ignored;
        if (made_) {
            std::filesystem::remove_all(directory(), ignored);
        }
        done(false);
        // Posted, so that the answer is on its way first.
        loop_.post([this] { loop_.stop(); });
    }

    void serve(Fd socket) {
        Channel::Handlers handlers;
        handlers.on_call = [this](Channel::Call call) { dispatch(*this, std::move(call)); };
        auto channel = Channel::create(loop_, std::move(socket), std::move(handlers));
        channels_.push_back(*std::move(channel));
    }

private:
    std::string directory() const { return options_.root + "/" + options_.id; }

    Result<std::uint32_t> make(TaskCreate request) {
        options_.id = request.id;
        options_.root = request.pod.value().root;
        std::error_code ignored;
        std::filesystem::create_directories(options_.root, ignored);
        if (::mkdir(directory().c_str(), 0700) != 0) {
            return Error(Code::AlreadyExists, "container '" + options_.id + "' already exists");
        }
        made_ = true;
        Bundle bundle = TRY(load_bundle(request.bundle));
        Task& task = tasks_[""];
        task.spec = std::move(bundle.container.process);
        task.io = std::move(request.io);
        watch_proxy(task);
        const Fd opened = TRY(open_file(directory().c_str(), O_RDONLY | O_DIRECTORY));
        listener_ = TRY(listen_unix_at(opened.ref(), kShimSocket));
        on_client_ = TRY(loop_.watch(listener_.ref(), EPOLLIN, [this](std::uint32_t) {
            if (auto client = accept_client(listener_.ref())) {
                serve(*std::move(client));
            }
        }));
        ContainerState state;
        state.oci_version = bundle.oci_version;
        state.id = request.id;
        state.status = ContainerStatus::Created;
        state.pid = task.io.proxy_pid;
        state.bundle = request.bundle;
        state.annotations = bundle.annotations;
        state.created = timestamp_now();
        state.isolation = "none";
        state.isolation_reason = "a test";
        state.shim = TRY(identify_process(static_cast<std::uint32_t>(::getpid())));
        TRY(write_state(opened.ref(), state));
        return task.io.proxy_pid;
    }

    Result<TaskStarted> launch(const ProcessId& id) {
        const auto at = tasks_.find(id.exec);
        if (at == tasks_.end()) {
            return not_found();
        }
        Task& task = at->second;
        if (task.child || task.exit_status) {
            return Error(Code::FailedPrecondition, "was started before");
        }
        const std::string& program = task.spec.args.front();
        if (::access(program.c_str(), X_OK) != 0) {
            const auto reason = static_cast<std::uint32_t>(errno);
            finish(task, reason == ENOENT ? 127 : 126);
            return TaskStarted{.pid = 0, .exec_errno = reason};
        }
        SpawnOptions options;
        options.path = program;
        options.arguments = task.spec.args;
        options.environment = task.spec.env;
        options.prepare = [cwd = task.spec.cwd] -> Result<void> {
            return ::chdir(cwd.c_str()) == 0 ? Result<void>() : Error::from_errno(errno, "cwd");
        };
        const bool is_terminal = task.io.terminal == Terminal::Yes;
        for (const auto& [end, number] :
             {std::pair(&task.io.in, 0), std::pair(&task.io.out, 1),
              std::pair(is_terminal ? &task.io.out : &task.io.err, 2)}) {
            if (end->fd) {
                options.fds.push_back({.fd = end->fd->ref(), .number = number});
            }
        }
        task.child.emplace(TRY(spawn(std::move(options))));
        task.io.in = {};
        task.io.out = {};
        task.io.err = {};
        task.on_exit = TRY(loop_.watch(task.child->pidfd(), EPOLLIN, [this, &task](std::uint32_t) {
            task.on_exit.cancel();
            finish(task, task.child->reap().shell_status());
        }));
        return TaskStarted{.pid = task.io.proxy_pid, .exec_errno = 0};
    }

    void finish(Task& task, std::uint32_t status) {
        task.exit_status = status;
        task.on_proxy.cancel();
        if (task.io.proxy) {
            (void)send_some(task.io.proxy->ref(), std::as_bytes(std::span(&status, 1))).has_value();
        }
        for (auto& done : std::exchange(task.waiting, {})) {
            done(TaskExit{status});
        }
    }

    void watch_proxy(Task& task) {
        if (!task.io.proxy) {
            return;
        }
        auto watch = loop_.watch(task.io.proxy->ref(), EPOLLIN, [&task](std::uint32_t) {
            std::array<std::byte, sizeof(std::uint32_t)> number{};
            const auto got = receive_some(task.io.proxy->ref(), number);
            if (!got || !task.child) {
                return;
            }
            if (got->size == 0) {
                task.on_proxy.cancel();
            }
            task.child->send_signal(got->size == 0 ? SIGKILL : std::to_integer<int>(number[0]));
        });
        task.on_proxy = *std::move(watch);
    }

    EventLoop& loop_;
    Options options_;
    bool made_ = false;
    std::map<std::string, Task> tasks_;
    std::vector<OnResult<TaskStarted>> unanswered_;
    std::vector<std::shared_ptr<Channel>> channels_;
    Fd listener_;
    EventLoop::Watch on_client_;
};

int main() {
    Options options;
    const char* misbehaviour = ::getenv("PEPITA_FAKE_SHIM");
    options.misbehaviour = misbehaviour == nullptr ? "" : misbehaviour;
    auto loop = EventLoop::create();
    FakeShim shim(**loop, std::move(options));
    shim.serve(Fd(kShimSocketNumber));
    return (*loop)->run().has_value() ? 0 : 1;
}

}  // namespace
}  // namespace pepita::runtime

int main() { return pepita::runtime::main(); }
