#include "runtime/task_api.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/fd_names.h"
#include "runtime/api/metrics.h"
#include "runtime/api/task.pb.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/message.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime {
namespace {

namespace pb = ::containerd::task::v2;
using api::FdTable;
using api::parse;
using api::reply_to;
using api::respond_to;
using api::take_end;
using api::take_fd;

constexpr std::string_view kService = "containerd.task.v2.Task";
constexpr std::string_view kServiceV3 = "containerd.task.v3.Task";  // the same messages
constexpr std::int64_t kNanoseconds = 1'000'000'000;
constexpr std::string_view kImageType = "pepita-image";
constexpr std::string_view kStoreOption = "store=";
constexpr std::string_view kOptionsType = "pepita.CreateOptions";
constexpr std::string_view kRuntimeOptionsType = "runtimeoptions.v1.Options";
constexpr std::string_view kProcessType =
    "types.containerd.io/opencontainers/runtime-spec/1/Process";
constexpr std::string_view kResourcesType =
    "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
constexpr std::string_view kDetailsType = "containerd.runc.v1.ProcessDetails";

// The parts that Create and Exec share.
template <typename Request>
pb::CreateOptions put_io(const TaskIo& io, FdTable& fds, Request& request) {
    request.set_terminal(io.terminal == Terminal::Yes);
    request.set_stdin(fds.name(io.in));
    request.set_stdout(fds.name(io.out));
    request.set_stderr(fds.name(io.err));
    pb::CreateOptions options;
    options.set_proxy(fds.name(io.proxy));
    options.set_proxy_pid(io.proxy_pid);
    options.set_console_socket(fds.name(io.console_socket));
    return options;
}

template <typename Request>
void put_options(const pb::CreateOptions& options, Request& request) {
    request.mutable_options()->set_type_url(std::string(kOptionsType));
    request.mutable_options()->set_value(options.SerializeAsString());
}

/// Empty options where the request has none, or none of ours.
template <typename Request>
Result<pb::CreateOptions> options_of(const Request& request) {
    if (request.options().type_url() != kOptionsType) {
        return pb::CreateOptions();
    }
    return TRY(parse<pb::CreateOptions>(request.options().value()), "options");
}

template <typename Request>
Result<TaskIo> take_io(const Request& request, const pb::CreateOptions& options,
                       std::vector<Fd>& fds) {
    TaskIo io;
    io.terminal = request.terminal() ? Terminal::Yes : Terminal::No;
    io.in = TRY(take_end(request.stdin(), fds), "stdin");
    io.out = TRY(take_end(request.stdout(), fds), "stdout");
    io.err = TRY(take_end(request.stderr(), fds), "stderr");
    io.proxy = TRY(take_fd(options.proxy(), fds), "proxy");
    io.proxy_pid = options.proxy_pid();
    io.console_socket = TRY(take_fd(options.console_socket(), fds), "console socket");
    return io;
}

template <typename Message>
Message with_id(const ProcessId& id) {
    Message message;
    message.set_id(id.container);
    message.set_exec_id(id.exec);
    return message;
}

template <typename Message>
ProcessId id_of(const Message& message) {
    return {.container = message.id(), .exec = message.exec_id()};
}

TaskStatus status_of(pb::Status status) {
    if (status == pb::CREATED) {
        return TaskStatus::Created;
    }
    if (status == pb::RUNNING) {
        return TaskStatus::Running;
    }
    if (status == pb::PAUSED) {
        return TaskStatus::Paused;
    }
    return status == pb::STOPPED ? TaskStatus::Stopped : TaskStatus::Unknown;
}

pb::Status to_message(TaskStatus status) {
    switch (status) {
        case TaskStatus::Created:
            return pb::CREATED;
        case TaskStatus::Running:
            return pb::RUNNING;
        case TaskStatus::Stopped:
            return pb::STOPPED;
        case TaskStatus::Paused:
            return pb::PAUSED;
        case TaskStatus::Unknown:
            return pb::UNKNOWN;
    }
    std::unreachable();
}

void put_time(std::int64_t time_ns, pb::Timestamp& message) {
    message.set_seconds(time_ns / kNanoseconds);
    message.set_nanos(static_cast<std::int32_t>(time_ns % kNanoseconds));
}

std::int64_t time_of(const pb::Timestamp& message) {
    return message.seconds() * kNanoseconds + message.nanos();
}

pb::StateResponse to_message(const TaskState& state) {
    pb::StateResponse message;
    message.set_id(state.id);
    message.set_bundle(state.bundle);
    message.set_pid(state.pid);
    message.set_status(to_message(state.status));
    message.set_exit_status(state.exit_status);
    message.set_terminal(state.terminal == Terminal::Yes);
    message.set_stdin(state.in);
    message.set_stdout(state.out);
    message.set_stderr(state.err);
    put_time(state.exited_at_ns, *message.mutable_exited_at());
    return message;
}

TaskState from_message(const pb::StateResponse& message) {
    return {.id = message.id(),
            .bundle = message.bundle(),
            .pid = message.pid(),
            .status = status_of(message.status()),
            .exit_status = message.exit_status(),
            .terminal = message.terminal() ? Terminal::Yes : Terminal::No,
            .exited_at_ns = time_of(message.exited_at()),
            .in = message.stdin(),
            .out = message.stdout(),
            .err = message.stderr()};
}

Channel::Reply reply_to(OnResult<void> done) {
    return reply_to<pb::Empty, void>(std::move(done), [](const pb::Empty&) {});
}

template <typename Message>
Message exit_message(const TaskExit& exit) {
    Message message;
    message.set_exit_status(exit.exit_status);
    put_time(exit.exited_at_ns, *message.mutable_exited_at());
    return message;
}

pb::DeleteResponse delete_message(const TaskExit& exit) {
    auto message = exit_message<pb::DeleteResponse>(exit);
    message.set_pid(exit.pid);
    return message;
}

pb::PidsResponse pids_message(const std::vector<TaskProcess>& processes) {
    pb::PidsResponse response;
    for (const TaskProcess& process : processes) {
        pb::ProcessInfo& info = *response.add_processes();
        info.set_pid(process.pid);
        if (!process.exec.empty()) {
            pb::ProcessDetails details;
            details.set_exec_id(process.exec);
            info.mutable_info()->set_type_url(std::string(kDetailsType));
            info.mutable_info()->set_value(details.SerializeAsString());
        }
    }
    return response;
}

std::vector<TaskProcess> pids_of(const pb::PidsResponse& response) {
    std::vector<TaskProcess> processes;
    for (const pb::ProcessInfo& info : response.processes()) {
        const auto details = parse<pb::ProcessDetails>(info.info().value());
        processes.push_back({.pid = info.pid(), .exec = details ? details->exec_id() : ""});
    }
    return processes;
}

template <typename Message>
TaskExit exit_of(const Message& message) {
    TaskExit exit{.exit_status = message.exit_status(),
                  .exited_at_ns = time_of(message.exited_at())};
    if constexpr (requires { message.pid(); }) {
        exit.pid = message.pid();
    }
    return exit;
}

void put_image(const ImageRoot& image, pb::CreateTaskRequest& request) {
    pb::Mount& mount = *request.add_rootfs();
    mount.set_type(std::string(kImageType));
    mount.set_source(image.id);
    mount.add_options(std::string(kStoreOption) + image.store);
}

Error refused_root(const std::string& what) { return {Code::Unsupported, "rootfs: " + what}; }

Result<ImageRoot> image_of(const pb::Mount& mount) {
    ImageRoot image{.store = {}, .id = mount.source()};
    for (const std::string& option : mount.options()) {
        if (!option.starts_with(kStoreOption) || !image.store.empty()) {
            return refused_root("option '" + option + "'");
        }
        image.store = option.substr(kStoreOption.size());
    }
    if (!image.store.starts_with('/')) {
        return Error(Code::InvalidArgument,
                     "rootfs: store '" + image.store + "': must be an absolute path");
    }
    return image;
}

Result<void> take_root(const pb::CreateTaskRequest& request, TaskCreate& create) {
    for (const pb::Mount& mount : request.rootfs()) {
        if (!mount.target().empty() && mount.target() != "/") {
            return refused_root("target '" + mount.target() + "': a mount is the whole root");
        }
        if (mount.type() != kImageType) {
            create.mounts.push_back({.type = mount.type(),
                                     .source = mount.source(),
                                     .options = {mount.options().begin(), mount.options().end()}});
            continue;
        }
        if (request.rootfs_size() > 1) {
            return refused_root("an image beside other mounts");
        }
        create.image = TRY(image_of(mount));
    }
    return {};
}

/// containerd's runtimeoptions.v1.Options, as its configuration of a runtime and
/// `ctr run --runtime-config-path` give them. Options of other runtimes (runc's) ask us for
/// nothing.
Result<std::string> config_path_of(const pb::CreateTaskRequest& request) {
    if (!request.options().type_url().ends_with(kRuntimeOptionsType)) {
        return std::string();
    }
    return TRY(parse<pb::RuntimeOptions>(request.options().value()), "options").config_path();
}

Result<void> dispatch_create(TaskService& service, Channel::Call& call) {
    const auto request = TRY(parse<pb::CreateTaskRequest>(call.payload));
    const auto options = TRY(options_of(request));
    TaskCreate create{.id = request.id(),
                      .bundle = request.bundle(),
                      .io = TRY(take_io(request, options, call.fds)),
                      .cgroups = {options.cgroups().begin(), options.cgroups().end()},
                      .pod = {},
                      .config_path = TRY(config_path_of(request))};
    TRY(take_root(request, create));
    if (!options.pod().empty()) {
        create.pod = TRY(decode_pod_spec(options.pod()));
    }
    service.create(std::move(create),
                   respond_to<std::uint32_t>(std::move(call.responder), [](std::uint32_t pid) {
                       pb::CreateTaskResponse response;
                       response.set_pid(pid);
                       return response;
                   }));
    return {};
}

Result<void> dispatch_exec(TaskService& service, Channel::Call& call) {
    const auto request = TRY(parse<pb::ExecProcessRequest>(call.payload));
    TaskExec exec{.id = id_of(request),
                  .process = TRY(parse_process(request.spec().value())),
                  .io = TRY(take_io(request, TRY(options_of(request)), call.fds))};
    service.exec(std::move(exec), respond_to(std::move(call.responder)));
    return {};
}

Result<void> dispatch_process(TaskService& service, Channel::Call& call) {
    const std::string& method = call.method;
    if (method == "Kill") {
        const auto request = TRY(parse<pb::KillRequest>(call.payload));
        service.kill(id_of(request), request.signal(), request.all(),
                     respond_to(std::move(call.responder)));
    } else if (method == "ResizePty") {
        const auto request = TRY(parse<pb::ResizePtyRequest>(call.payload));
        service.resize(id_of(request), {.rows = request.height(), .columns = request.width()},
                       respond_to(std::move(call.responder)));
    } else if (method == "CloseIO") {
        const auto request = TRY(parse<pb::CloseIORequest>(call.payload));
        service.close_stdin(id_of(request), respond_to(std::move(call.responder)));
    } else if (method == "Wait") {
        const auto request = TRY(parse<pb::WaitRequest>(call.payload));
        service.wait(id_of(request), respond_to<TaskExit>(std::move(call.responder),
                                                          exit_message<pb::WaitResponse>));
    } else if (method == "Delete") {
        const auto request = TRY(parse<pb::DeleteRequest>(call.payload));
        service.remove(id_of(request),
                       respond_to<TaskExit>(std::move(call.responder), delete_message));
    } else {
        return Error(Code::Unsupported, "no method '" + method + "'");
    }
    return {};
}

Result<void> dispatch_update(TaskService& service, Channel::Call& call) {
    const auto request = TRY(parse<pb::UpdateTaskRequest>(call.payload));
    ResourcesSpec resources = TRY(parse_resources(request.resources().value()));
    service.update(request.id(), std::move(resources), respond_to(std::move(call.responder)));
    return {};
}

Result<void> dispatch_container(TaskService& service, Channel::Call& call) {
    const std::string& method = call.method;
    const auto request = TRY(parse<pb::ContainerRequest>(call.payload));
    if (method == "Pause") {
        service.pause(request.id(), respond_to(std::move(call.responder)));
    } else if (method == "Resume") {
        service.resume(request.id(), respond_to(std::move(call.responder)));
    } else if (method == "Pids") {
        service.pids(request.id(),
                     respond_to<std::vector<TaskProcess>>(std::move(call.responder), pids_message));
    } else if (method == "Stats") {
        service.stats(
            request.id(),
            respond_to<ContainerStats>(std::move(call.responder), [](const ContainerStats& stats) {
                pb::StatsResponse response;
                response.mutable_stats()->set_type_url(std::string(api::kMetricsType));
                response.mutable_stats()->set_value(api::encode_metrics(stats));
                return response;
            }));
    } else if (method == "Connect") {
        service.connect(request.id(),
                        respond_to<TaskConnection>(std::move(call.responder),
                                                   [](const TaskConnection& connection) {
                                                       pb::ConnectResponse response;
                                                       response.set_shim_pid(connection.shim_pid);
                                                       response.set_task_pid(connection.pid);
                                                       response.set_version("v2");
                                                       return response;
                                                   }));
    } else if (method == "Checkpoint") {
        return Error(Code::Unsupported, "a container in a microVM cannot be checkpointed");
    } else {
        return dispatch_process(service, call);
    }
    return {};
}

Result<void> dispatch_checked(TaskService& service, Channel::Call& call) {
    const std::string& method = call.method;
    if (call.service != kService && call.service != kServiceV3) {
        return Error(Code::Unsupported, "no service '" + call.service + "'");
    }
    if (method == "Create") {
        return dispatch_create(service, call);
    }
    if (method == "Exec") {
        return dispatch_exec(service, call);
    }
    if (method == "Start") {
        const auto request = TRY(parse<pb::StartRequest>(call.payload));
        service.start(
            id_of(request),
            respond_to<TaskStarted>(std::move(call.responder), [](const TaskStarted& started) {
                pb::StartResponse response;
                response.set_pid(started.pid);
                response.set_exec_errno(started.exec_errno);
                return response;
            }));
        return {};
    }
    if (method == "State") {
        const auto request = TRY(parse<pb::StateRequest>(call.payload));
        service.state(id_of(request),
                      respond_to<TaskState>(std::move(call.responder), [](const TaskState& state) {
                          return to_message(state);
                      }));
        return {};
    }
    if (method == "Shutdown") {
        const auto request = TRY(parse<pb::ShutdownRequest>(call.payload));
        service.shutdown(request.now(), respond_to<bool>(std::move(call.responder), [](bool stays) {
                             pb::ShutdownResponse response;
                             response.set_stays(stays);
                             return response;
                         }));
        return {};
    }
    if (method == "Update") {
        return dispatch_update(service, call);
    }
    return dispatch_container(service, call);
}

template <typename Reply>
void call_container(Channel& channel, std::string_view method, const std::string& container,
                    Reply reply) {
    pb::ContainerRequest message;
    message.set_id(container);
    channel.call(kService, method, message.SerializeAsString(), {}, std::move(reply));
}

}  // namespace

void TaskClient::create(TaskCreate request, OnResult<std::uint32_t> done) {
    FdTable fds;
    pb::CreateTaskRequest message;
    message.set_id(request.id);
    message.set_bundle(request.bundle);
    pb::CreateOptions options = put_io(request.io, fds, message);
    for (const std::string& directory : request.cgroups) {
        options.add_cgroups(directory);
    }
    if (request.image) {
        put_image(*request.image, message);
    }
    if (request.pod) {
        options.set_pod(encode(*request.pod));
    }
    put_options(options, message);
    channel_->call(kService, "Create", message.SerializeAsString(),
                   {.deadline = {}, .fds = fds.refs()},
                   reply_to<pb::CreateTaskResponse, std::uint32_t>(
                       std::move(done),
                       [](const pb::CreateTaskResponse& response) { return response.pid(); }));
}

void TaskClient::exec(TaskExec request, OnResult<void> done) {
    FdTable fds;
    auto message = with_id<pb::ExecProcessRequest>(request.id);
    put_options(put_io(request.io, fds, message), message);
    message.mutable_spec()->set_type_url(std::string(kProcessType));
    message.mutable_spec()->set_value(to_json(request.process));
    channel_->call(kService, "Exec", message.SerializeAsString(),
                   {.deadline = {}, .fds = fds.refs()}, reply_to(std::move(done)));
}

void TaskClient::start(const ProcessId& process, OnResult<TaskStarted> done) {
    channel_->call(kService, "Start", with_id<pb::StartRequest>(process).SerializeAsString(), {},
                   reply_to<pb::StartResponse, TaskStarted>(
                       std::move(done), [](const pb::StartResponse& response) {
                           return TaskStarted{.pid = response.pid(),
                                              .exec_errno = response.exec_errno()};
                       }));
}

void TaskClient::state(const ProcessId& process, OnResult<TaskState> done) {
    channel_->call(kService, "State", with_id<pb::StateRequest>(process).SerializeAsString(), {},
                   reply_to<pb::StateResponse, TaskState>(
                       std::move(done),
                       [](const pb::StateResponse& response) { return from_message(response); }));
}

void TaskClient::kill(const ProcessId& process, std::uint32_t signal, bool all,
                      OnResult<void> done) {
    auto message = with_id<pb::KillRequest>(process);
    message.set_signal(signal);
    message.set_all(all);
    channel_->call(kService, "Kill", message.SerializeAsString(), {}, reply_to(std::move(done)));
}

void TaskClient::wait(const ProcessId& process, OnResult<TaskExit> done) {
    channel_->call(
        kService, "Wait", with_id<pb::WaitRequest>(process).SerializeAsString(), {},
        reply_to<pb::WaitResponse, TaskExit>(std::move(done), exit_of<pb::WaitResponse>));
}

void TaskClient::resize(const ProcessId& process, WindowSize size, OnResult<void> done) {
    auto message = with_id<pb::ResizePtyRequest>(process);
    message.set_width(size.columns);
    message.set_height(size.rows);
    channel_->call(kService, "ResizePty", message.SerializeAsString(), {},
                   reply_to(std::move(done)));
}

void TaskClient::close_stdin(const ProcessId& process, OnResult<void> done) {
    auto message = with_id<pb::CloseIORequest>(process);
    message.set_stdin(true);
    channel_->call(kService, "CloseIO", message.SerializeAsString(), {}, reply_to(std::move(done)));
}

void TaskClient::remove(const ProcessId& process, OnResult<TaskExit> done) {
    channel_->call(
        kService, "Delete", with_id<pb::DeleteRequest>(process).SerializeAsString(), {},
        reply_to<pb::DeleteResponse, TaskExit>(std::move(done), exit_of<pb::DeleteResponse>));
}

void TaskClient::pids(const std::string& container, OnResult<std::vector<TaskProcess>> done) {
    call_container(*channel_, "Pids", container,
                   reply_to<pb::PidsResponse, std::vector<TaskProcess>>(std::move(done), pids_of));
}

void TaskClient::pause(const std::string& container, OnResult<void> done) {
    call_container(*channel_, "Pause", container, reply_to(std::move(done)));
}

void TaskClient::resume(const std::string& container, OnResult<void> done) {
    call_container(*channel_, "Resume", container, reply_to(std::move(done)));
}

void TaskClient::stats(const std::string& container, OnResult<ContainerStats> done) {
    call_container(*channel_, "Stats", container,
                   reply_to<pb::StatsResponse, ContainerStats>(
                       std::move(done), [](const pb::StatsResponse& response) {
                           return api::decode_metrics(response.stats().value());
                       }));
}

void TaskClient::update(const std::string& container, const std::string& resources,
                        OnResult<void> done) {
    pb::UpdateTaskRequest message;
    message.set_id(container);
    message.mutable_resources()->set_type_url(std::string(kResourcesType));
    message.mutable_resources()->set_value(resources);
    channel_->call(kService, "Update", message.SerializeAsString(), {}, reply_to(std::move(done)));
}

void TaskClient::shutdown(bool now, OnResult<bool> done) {
    pb::ShutdownRequest message;
    message.set_now(now);
    channel_->call(kService, "Shutdown", message.SerializeAsString(), {},
                   reply_to<pb::ShutdownResponse, bool>(
                       std::move(done),
                       [](const pb::ShutdownResponse& response) { return response.stays(); }));
}

void dispatch(TaskService& service, Channel::Call call) {
    // Whoever does not answer leaves the responder with us.
    if (Result<void> dispatched = dispatch_checked(service, call); !dispatched) {
        call.responder.respond(std::move(dispatched).error());
    }
}

}  // namespace pepita::runtime
