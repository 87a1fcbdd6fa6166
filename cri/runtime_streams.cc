#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/identity.h"
#include "cri/runtime_service.h"
#include "cri/streaming.h"
#include "cri/streaming/fd_ends.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/guest_api.h"
#include "runtime/pod_api.h"
#include "runtime/task_api.h"

// Processes in containers, and the streams of those that run there.

namespace pepita::cri {
namespace {

using runtime::OnResult;
using runtime::ProcessId;
using runtime::TaskExit;
using runtime::TaskStarted;
using runtime::Terminal;

/// The two ends of a process's streams.
struct Ends {
    StartedProcess ours;
    runtime::TaskIo theirs;
};

Result<Ends> make_ends(const StreamChoice& choice) {
    Ends ends;
    ends.theirs.terminal = choice.tty ? Terminal::Yes : Terminal::No;
    if (choice.in) {
        Pipe pipe = TRY(make_pipe());
        ends.ours.in = std::move(pipe.write);
        ends.theirs.in.fd = std::move(pipe.read);
    }
    if (choice.out) {
        Pipe pipe = TRY(make_pipe());
        ends.ours.out = std::move(pipe.read);
        ends.theirs.out.fd = std::move(pipe.write);
    }
    if (choice.err && !choice.tty) {
        Pipe pipe = TRY(make_pipe());
        ends.ours.err = std::move(pipe.read);
        ends.theirs.err.fd = std::move(pipe.write);
    }
    return ends;
}

Fd taken(runtime::StreamEnd& end) { return end.fd ? *std::move(end.fd) : Fd(); }

runtime::WindowSize window(TerminalSize size) {
    return {.rows = size.height, .columns = size.width};
}

StreamChoice choice_of(const auto& request) {
    return {.in = request.stdin(),
            .out = request.stdout(),
            .err = request.stderr(),
            .tty = request.tty()};
}

}  // namespace

Result<runtime::TaskExec> RuntimeService::exec_task(const Container& container,
                                                    std::vector<std::string> command,
                                                    Terminal terminal) const {
    if (command.empty()) {
        return Error(Code::InvalidArgument, "cmd: must not be empty");
    }
    runtime::TaskExec exec;
    exec.id = {.container = container.record.id(), .exec = random_id()};
    exec.process = TRY(runtime::load_bundle(bundle(container))).container.process;
    exec.process.terminal = terminal;
    exec.process.window = {};
    exec.process.args = std::move(command);
    exec.io.terminal = terminal;
    // Hold it to the rules of a file.
    if (TRY(runtime::parse_process(to_json(exec.process)), "cmd") != exec.process) {
        return Error(Code::InvalidArgument, "cmd: must be UTF-8");
    }
    return exec;
}

void RuntimeService::remove_exec(const Pod& pod, const ProcessId& id) {
    if (pod.shim) {
        pod.shim->tasks().remove(id, while_here<TaskExit>([](const Result<TaskExit>& /*gone*/) {}));
    }
}

void RuntimeService::start_exec(const ContainerRef& container, runtime::TaskExec exec,
                                OnResult<void> done) {
    const PodRef pod = pod_of(*container);
    const ProcessId id = exec.id;
    pod->shim->tasks().exec(
        std::move(exec),
        while_here<void>([this, pod, id, done = std::move(done)](Result<void> made) mutable {
            if (!made || !pod->shim) {
                return done(made ? Error(Code::Unavailable, "the pod has ended")
                                 : std::move(made).error());
            }
            pod->shim->tasks().start(
                id, while_here<TaskStarted>([this, pod, id, done = std::move(done)](
                                                Result<TaskStarted> started) mutable {
                    if (started && started->exec_errno == 0) {
                        return done({});
                    }
                    remove_exec(*pod, id);
                    done(started
                             ? Error::from_errno(static_cast<int>(started->exec_errno), "execve")
                             : std::move(started).error());
                }));
        }));
}

/// One ExecSync. It is held by what it waits for.
class RuntimeService::SyncExec : public std::enable_shared_from_this<SyncExec> {
public:
    static constexpr std::size_t kOutputMax = std::size_t{16} << 20U;

    SyncExec(RuntimeService& service, PodRef pod, ProcessId id)
        : service_(service), pod_(std::move(pod)), id_(std::move(id)) {}

    void answer_to(Done<v1::ExecSyncResponse> done) { done_ = std::move(done); }

    Result<void> read(StartedProcess ends) {
        out_ = TRY(collect(std::move(ends.out), out_text_));
        err_ = TRY(collect(std::move(ends.err), err_text_));
        return {};
    }

    void on_started(Result<void> started, std::int64_t timeout_s) {
        if (!started) {
            return end(std::move(started).error());
        }
        if (timeout_s > 0) {
            constexpr std::int64_t day_s = 86'400;
            timer_ = service_.loop_.after(
                std::chrono::seconds(std::min(timeout_s, day_s)),
                [self = shared_from_this(), timeout_s] { self->on_timeout(timeout_s); });
        }
        pod_->shim->tasks().wait(
            id_, service_.while_here<TaskExit>([self = shared_from_this()](Result<TaskExit> exit) {
                self->on_exit(std::move(exit));
            }));
    }

private:
    Result<std::unique_ptr<Inlet>> collect(Fd source, std::string& into) {
        return Inlet::create(service_.loop_, std::move(source),
                             {.has_room = [] { return true; },
                              .on_bytes =
                                  [&into](std::span<const std::byte> bytes) {
                                      // What is too much is read and dropped, or the process would
                                      // wait for ever.
                                      const std::size_t room = kOutputMax - into.size();
                                      // SAFETY: bytes of a pipe are text to std::string.
                                      into.append(reinterpret_cast<const char*>(bytes.data()),
                                                  std::min(bytes.size(), room));
                                  },
                              .on_end = [] {}});
    }

    void on_timeout(std::int64_t timeout_s) {
        if (pod_->shim) {
            pod_->shim->tasks().kill(id_, SIGKILL, false,
                                     service_.while_here<void>([](const Result<void>&) {}));
        }
        end(Error(Code::DeadlineExceeded,
                  "the command was killed after its " + std::to_string(timeout_s) + " s"));
    }

    void on_exit(Result<TaskExit> exit) {
        service_.remove_exec(*pod_, id_);
        if (!exit) {
            return end(std::move(exit).error());
        }
        // All of its output was written before; what its children go on to write is not its.
        out_->drain();
        err_->drain();
        v1::ExecSyncResponse response;
        response.set_stdout(out_text_);
        response.set_stderr(err_text_);
        response.set_exit_code(static_cast<std::int32_t>(exit->exit_status));
        end(std::move(response));
    }

    void end(Result<v1::ExecSyncResponse> result) {
        timer_.cancel();
        if (auto done = std::exchange(done_, nullptr)) {
            done(std::move(result));
        }
    }

    RuntimeService& service_;
    PodRef pod_;
    ProcessId id_;
    Done<v1::ExecSyncResponse> done_;
    std::string out_text_;
    std::string err_text_;
    EventLoop::Timer timer_;
    std::unique_ptr<Inlet> out_;
    std::unique_ptr<Inlet> err_;
};

void RuntimeService::exec_sync(const v1::ExecSyncRequest& request,
                               Done<v1::ExecSyncResponse> done) {
    std::shared_ptr<SyncExec> run;
    const auto begin = [&]() -> Result<std::pair<ContainerRef, runtime::TaskExec>> {
        ContainerRef container = TRY(find_running(request.container_id()));
        runtime::TaskExec exec =
            TRY(exec_task(*container, {request.cmd().begin(), request.cmd().end()}, Terminal::No));
        Ends ends = TRY(make_ends({.in = false, .out = true, .err = true, .tty = false}));
        exec.io = std::move(ends.theirs);
        run = std::make_shared<SyncExec>(*this, pod_of(*container), exec.id);
        TRY(run->read(std::move(ends.ours)));
        return std::pair(std::move(container), std::move(exec));
    };
    auto begun = begin();
    if (!begun) {
        return done(std::move(begun).error());
    }
    run->answer_to(std::move(done));
    start_exec(begun->first, std::move(begun->second),
               [run, timeout = request.timeout()](Result<void> started) {
                   run->on_started(std::move(started), timeout);
               });
}

/// A process whose streams a client holds.
class RuntimeService::StreamedExec : public StreamedProcess {
public:
    StreamedExec(RuntimeService& service, PodRef pod, ProcessId id)
        : service_(service), is_here_(service.is_here_), pod_(std::move(pod)), id_(std::move(id)) {}

    void resize(TerminalSize size) override {
        if (*is_here_ && pod_->shim) {
            pod_->shim->tasks().resize(
                id_, window(size), service_.while_here<void>([](const Result<void>& /*done*/) {}));
        }
    }

private:
    RuntimeService& service_;
    std::shared_ptr<bool> is_here_;
    PodRef pod_;
    ProcessId id_;
};

void RuntimeService::exec(const ExecRequest& request, OnStarted on_started, OnExit on_exit) {
    StartedProcess ours;
    const auto begin = [&]() -> Result<std::pair<ContainerRef, runtime::TaskExec>> {
        ContainerRef container = TRY(find_running(request.container_id));
        runtime::TaskExec exec = TRY(exec_task(*container, request.command,
                                               request.streams.tty ? Terminal::Yes : Terminal::No));
        Ends ends = TRY(make_ends(request.streams));
        exec.io = std::move(ends.theirs);
        ours = std::move(ends.ours);
        return std::pair(std::move(container), std::move(exec));
    };
    auto begun = begin();
    if (!begun) {
        return on_started(std::move(begun).error());
    }
    const PodRef pod = pod_of(*begun->first);
    const ProcessId id = begun->second.id;
    start_exec(begun->first, std::move(begun->second),
               [this, pod, id, ours = std::move(ours), on_started = std::move(on_started),
                on_exit = std::move(on_exit)](Result<void> started) mutable {
                   if (!started) {
                       return on_started(std::move(started).error());
                   }
                   ours.process = std::make_unique<StreamedExec>(*this, pod, id);
                   on_started(std::move(ours));
                   pod->shim->tasks().wait(
                       id, while_here<TaskExit>([this, pod, id, on_exit = std::move(on_exit)](
                                                    Result<TaskExit> exit) mutable {
                           remove_exec(*pod, id);
                           on_exit(exit ? Result<std::uint32_t>(exit->exit_status)
                                        : std::move(exit).error());
                       }));
               });
}

void RuntimeService::attach(const AttachRequest& request, OnStarted on_started, OnExit on_exit) {
    StreamChoice choice = request.streams;
    Result<ContainerRef> container = find_running(request.container_id);
    if (!container) {
        return on_started(std::move(container).error());
    }
    choice.tty = (*container)->record.config().tty();
    Result<Ends> ends = make_ends(choice);
    if (!ends) {
        return on_started(std::move(ends).error());
    }
    const PodRef pod = pod_of(**container);
    const ProcessId id{.container = (*container)->record.id(), .exec = ""};
    runtime::AttachRequest attach{.container = id.container,
                                  .in = taken(ends->theirs.in),
                                  .out = taken(ends->theirs.out),
                                  .err = taken(ends->theirs.err)};
    pod->shim->pod().attach(
        std::move(attach),
        while_here<void>([this, pod, id, ours = std::move(ends->ours),
                          on_started = std::move(on_started),
                          on_exit = std::move(on_exit)](Result<void> attached) mutable {
            if (!attached || !pod->shim) {
                return on_started(attached ? Error(Code::Unavailable, "the pod has ended")
                                           : std::move(attached).error());
            }
            ours.process = std::make_unique<StreamedExec>(*this, pod, id);
            on_started(std::move(ours));
            pod->shim->tasks().wait(
                id,
                while_here<TaskExit>([on_exit = std::move(on_exit)](Result<TaskExit> exit) mutable {
                    // The container's status is not that of looking at it.
                    on_exit(exit ? Result<std::uint32_t>(0U) : std::move(exit).error());
                }));
        }));
}

void RuntimeService::port_forward(const std::string& pod_id, std::uint16_t port,
                                  OnConnected on_connected) {
    const auto begin = [&]() -> Result<std::pair<PodRef, std::pair<Fd, Fd>>> {
        PodRef pod = TRY(find_pod(pod_id));
        if (!pod->record.is_ready() || !pod->shim) {
            return Error(Code::FailedPrecondition, "pod '" + pod->record.id() + "' is not ready");
        }
        return std::pair(std::move(pod), TRY(socket_pair()));
    };
    auto begun = begin();
    if (!begun) {
        return on_connected(std::move(begun).error());
    }
    begun->first->shim->pod().connect(
        port, std::move(begun->second.second),
        while_here<void>([ours = std::move(begun->second.first),
                          on_connected = std::move(on_connected)](Result<void> connected) mutable {
            on_connected(connected ? Result<Fd>(std::move(ours)) : std::move(connected).error());
        }));
}

void RuntimeService::exec_url(const v1::ExecRequest& request, Done<v1::ExecResponse> done) {
    const auto url = [&]() -> Result<std::string> {
        const ContainerRef container = TRY(find_running(request.container_id()));
        if (request.cmd().empty()) {
            return Error(Code::InvalidArgument, "cmd: must not be empty");
        }
        return streaming_->url_for(
            ExecRequest{.container_id = container->record.id(),
                        .command = {request.cmd().begin(), request.cmd().end()},
                        .streams = choice_of(request)});
    }();
    if (!url) {
        return done(Error(url.error().code(), url.error().message()));
    }
    v1::ExecResponse response;
    response.set_url(*url);
    done(std::move(response));
}

void RuntimeService::attach_url(const v1::AttachRequest& request, Done<v1::AttachResponse> done) {
    const auto url = [&]() -> Result<std::string> {
        const ContainerRef container = TRY(find_running(request.container_id()));
        return streaming_->url_for(
            AttachRequest{.container_id = container->record.id(), .streams = choice_of(request)});
    }();
    if (!url) {
        return done(Error(url.error().code(), url.error().message()));
    }
    v1::AttachResponse response;
    response.set_url(*url);
    done(std::move(response));
}

void RuntimeService::port_forward_url(const v1::PortForwardRequest& request,
                                      Done<v1::PortForwardResponse> done) {
    const auto url = [&]() -> Result<std::string> {
        const PodRef pod = TRY(find_pod(request.pod_sandbox_id()));
        PortForwardRequest forward{.pod_id = pod->record.id(), .ports = {}};
        for (const std::int32_t port : request.port()) {
            constexpr std::int32_t port_max = 65'535;
            if (port < 1 || port > port_max) {
                return Error(Code::InvalidArgument,
                             "port: " + std::to_string(port) + " is no port");
            }
            forward.ports.push_back(static_cast<std::uint16_t>(port));
        }
        return streaming_->url_for(std::move(forward));
    }();
    if (!url) {
        return done(Error(url.error().code(), url.error().message()));
    }
    v1::PortForwardResponse response;
    response.set_url(*url);
    done(std::move(response));
}

}  // namespace pepita::cri
