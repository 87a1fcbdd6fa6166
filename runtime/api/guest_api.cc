#include "runtime/guest_api.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/guest.pb.h"
#include "runtime/container.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/message.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime {
namespace {

namespace pb = guest::v1;
using api::parse;
using api::reply_to;
using api::respond_to;

constexpr std::string_view kService = "pepita.guest.v1.Guest";

// protobuf's containers and ours hold the same values; only the types differ.
template <typename To, typename From>
To list(const From& from) {
    return To(from.begin(), from.end());
}

pb::Process to_message(const ProcessSpec& spec) {
    pb::Process message;
    message.set_terminal(spec.terminal == Terminal::Yes);
    message.set_rows(spec.window.rows);
    message.set_columns(spec.window.columns);
    message.set_uid(spec.uid);
    message.set_gid(spec.gid);
    message.mutable_additional_gids()->Assign(spec.additional_gids.begin(),
                                              spec.additional_gids.end());
    if (spec.umask) {
        message.set_umask(*spec.umask);
    }
    message.mutable_args()->Assign(spec.args.begin(), spec.args.end());
    message.mutable_env()->Assign(spec.env.begin(), spec.env.end());
    message.set_cwd(spec.cwd);
    if (spec.capabilities) {
        pb::Capabilities* sets = message.mutable_capabilities();
        sets->set_bounding(spec.capabilities->bounding);
        sets->set_effective(spec.capabilities->effective);
        sets->set_inheritable(spec.capabilities->inheritable);
        sets->set_permitted(spec.capabilities->permitted);
        sets->set_ambient(spec.capabilities->ambient);
    }
    for (const Rlimit& limit : spec.rlimits) {
        pb::Rlimit* to = message.add_rlimits();
        to->set_resource(limit.resource);
        to->set_soft(limit.soft);
        to->set_hard(limit.hard);
    }
    message.set_no_new_privileges(spec.no_new_privileges);
    if (spec.oom_score_adj) {
        message.set_oom_score_adj(*spec.oom_score_adj);
    }
    message.set_stdin(spec.streams.has_stdin);
    message.set_stdout(spec.streams.has_stdout);
    message.set_stderr(spec.streams.has_stderr);
    return message;
}

ProcessSpec from_message(const pb::Process& message) {
    ProcessSpec spec;
    spec.terminal = message.terminal() ? Terminal::Yes : Terminal::No;
    spec.window = {.rows = message.rows(), .columns = message.columns()};
    spec.uid = message.uid();
    spec.gid = message.gid();
    spec.additional_gids = list<std::vector<std::uint32_t>>(message.additional_gids());
    if (message.has_umask()) {
        spec.umask = message.umask();
    }
    spec.args = list<std::vector<std::string>>(message.args());
    spec.env = list<std::vector<std::string>>(message.env());
    spec.cwd = message.cwd();
    if (message.has_capabilities()) {
        const pb::Capabilities& sets = message.capabilities();
        spec.capabilities = Capabilities{.bounding = sets.bounding(),
                                         .effective = sets.effective(),
                                         .inheritable = sets.inheritable(),
                                         .permitted = sets.permitted(),
                                         .ambient = sets.ambient()};
    }
    for (const pb::Rlimit& limit : message.rlimits()) {
        spec.rlimits.push_back(
            {.resource = limit.resource(), .soft = limit.soft(), .hard = limit.hard()});
    }
    spec.no_new_privileges = message.no_new_privileges();
    if (message.has_oom_score_adj()) {
        spec.oom_score_adj = message.oom_score_adj();
    }
    spec.streams = {.has_stdin = message.stdin(),
                    .has_stdout = message.stdout(),
                    .has_stderr = message.stderr()};
    return spec;
}

char letter(const std::string& text, char otherwise) {
    return text.size() == 1 ? text.front() : otherwise;
}

void to_message(const ResourcesSpec& spec, pb::Resources& message) {
    if (spec.memory_limit_bytes) {
        message.set_memory_limit_bytes(*spec.memory_limit_bytes);
    }
    if (spec.pids_limit) {
        message.set_pids_limit(*spec.pids_limit);
    }
    if (spec.cpu_shares) {
        message.set_cpu_shares(*spec.cpu_shares);
    }
    if (spec.cpu_quota_us) {
        message.set_cpu_quota_us(*spec.cpu_quota_us);
    }
    if (spec.cpu_period_us) {
        message.set_cpu_period_us(*spec.cpu_period_us);
    }
    for (const DeviceRule& rule : spec.devices) {
        pb::DeviceRule* to = message.add_devices();
        to->set_allow(rule.allow);
        to->set_type(std::string(1, rule.type));
        if (rule.major) {
            to->set_major(*rule.major);
        }
        if (rule.minor) {
            to->set_minor(*rule.minor);
        }
        to->set_access(rule.access);
    }
}

ResourcesSpec from_message(const pb::Resources& message) {
    ResourcesSpec spec;
    if (message.has_memory_limit_bytes()) {
        spec.memory_limit_bytes = message.memory_limit_bytes();
    }
    if (message.has_pids_limit()) {
        spec.pids_limit = message.pids_limit();
    }
    if (message.has_cpu_shares()) {
        spec.cpu_shares = message.cpu_shares();
    }
    if (message.has_cpu_quota_us()) {
        spec.cpu_quota_us = message.cpu_quota_us();
    }
    if (message.has_cpu_period_us()) {
        spec.cpu_period_us = message.cpu_period_us();
    }
    for (const pb::DeviceRule& rule : message.devices()) {
        DeviceRule to{.allow = rule.allow(),
                      .type = letter(rule.type(), 'a'),
                      .major = {},
                      .minor = {},
                      .access = rule.access()};
        if (rule.has_major()) {
            to.major = rule.major();
        }
        if (rule.has_minor()) {
            to.minor = rule.minor();
        }
        spec.devices.push_back(std::move(to));
    }
    return spec;
}

pb::CreateRequest to_message(const ContainerSpec& spec) {
    pb::CreateRequest message;
    message.set_container_id(spec.id);
    message.set_root_disk_serial(spec.root_disk_serial);
    message.set_scratch_disk_serial(spec.scratch_disk_serial);
    message.set_root_read_only(spec.root_read_only);
    message.set_hostname(spec.hostname);
    message.set_domainname(spec.domainname);
    pb::Namespaces* namespaces = message.mutable_namespaces();
    namespaces->set_pid(spec.namespaces.pid);
    namespaces->set_mount(spec.namespaces.mount);
    namespaces->set_ipc(spec.namespaces.ipc);
    namespaces->set_uts(spec.namespaces.uts);
    namespaces->set_network(spec.namespaces.network);
    namespaces->set_cgroup(spec.namespaces.cgroup);
    for (const MountSpec& mount : spec.mounts) {
        pb::Mount* to = message.add_mounts();
        to->set_destination(mount.destination);
        to->set_type(mount.type);
        to->set_source(mount.source);
        to->mutable_options()->Assign(mount.options.begin(), mount.options.end());
    }
    message.mutable_masked_paths()->Assign(spec.masked_paths.begin(), spec.masked_paths.end());
    message.mutable_read_only_paths()->Assign(spec.read_only_paths.begin(),
                                              spec.read_only_paths.end());
    for (const DeviceSpec& device : spec.devices) {
        pb::Device* to = message.add_devices();
        to->set_path(device.path);
        to->set_type(std::string(1, device.type));
        to->set_major(device.major);
        to->set_minor(device.minor);
        to->set_file_mode(device.file_mode);
        to->set_uid(device.uid);
        to->set_gid(device.gid);
    }
    to_message(spec.resources, *message.mutable_resources());
    for (const SysctlSpec& sysctl : spec.sysctls) {
        pb::Sysctl* to = message.add_sysctls();
        to->set_name(sysctl.name);
        to->set_value(sysctl.value);
    }
    *message.mutable_process() = to_message(spec.process);
    return message;
}

ContainerSpec from_message(const pb::CreateRequest& message) {
    ContainerSpec spec;
    spec.id = message.container_id();
    spec.root_disk_serial = message.root_disk_serial();
    spec.scratch_disk_serial = message.scratch_disk_serial();
    spec.root_read_only = message.root_read_only();
    spec.hostname = message.hostname();
    spec.domainname = message.domainname();
    const pb::Namespaces& namespaces = message.namespaces();
    spec.namespaces = {.pid = namespaces.pid(),
                       .mount = namespaces.mount(),
                       .ipc = namespaces.ipc(),
                       .uts = namespaces.uts(),
                       .network = namespaces.network(),
                       .cgroup = namespaces.cgroup()};
    for (const pb::Mount& mount : message.mounts()) {
        spec.mounts.push_back({.destination = mount.destination(),
                               .type = mount.type(),
                               .source = mount.source(),
                               .options = list<std::vector<std::string>>(mount.options())});
    }
    spec.masked_paths = list<std::vector<std::string>>(message.masked_paths());
    spec.read_only_paths = list<std::vector<std::string>>(message.read_only_paths());
    for (const pb::Device& device : message.devices()) {
        spec.devices.push_back({.path = device.path(),
                                .type = letter(device.type(), 'c'),
                                .major = device.major(),
                                .minor = device.minor(),
                                .file_mode = device.file_mode(),
                                .uid = device.uid(),
                                .gid = device.gid()});
    }
    spec.resources = from_message(message.resources());
    for (const pb::Sysctl& sysctl : message.sysctls()) {
        spec.sysctls.push_back({.name = sysctl.name(), .value = sysctl.value()});
    }
    spec.process = from_message(message.process());
    return spec;
}

template <typename Message>
Message with_id(const ProcessId& id) {
    Message message;
    message.set_container_id(id.container);
    message.set_exec_id(id.exec);
    return message;
}

template <typename Message>
ProcessId id_of(const Message& message) {
    return {.container = message.container_id(), .exec = message.exec_id()};
}

StreamNumbers numbers_of(const auto& message) {
    return {.in = message.stdin_stream(),
            .out = message.stdout_stream(),
            .err = message.stderr_stream()};
}

Channel::Reply reply_to(OnResult<void> done) {
    return reply_to<pb::Empty, void>(std::move(done), [](const pb::Empty&) {});
}

template <typename Message>
Message streams_message(const StreamNumbers& numbers) {
    Message message;
    message.set_stdin_stream(numbers.in);
    message.set_stdout_stream(numbers.out);
    message.set_stderr_stream(numbers.err);
    return message;
}

// A program is looked up by the first of them.
Result<void> check(const ProcessSpec& process) {
    if (process.args.empty()) {
        return Error(Code::InvalidArgument, "a process without arguments");
    }
    return {};
}

Result<void> dispatch_process(GuestService& service, Channel::Call& call) {
    const std::string& method = call.method;
    if (method == "Signal") {
        const auto request = TRY(parse<pb::SignalRequest>(call.payload));
        service.signal(id_of(request), request.signal(), request.all(),
                       respond_to(std::move(call.responder)));
    } else if (method == "Wait") {
        const auto request = TRY(parse<pb::ProcessRequest>(call.payload));
        service.wait(id_of(request),
                     respond_to<std::uint32_t>(std::move(call.responder), [](std::uint32_t status) {
                         pb::WaitResponse response;
                         response.set_exit_status(status);
                         return response;
                     }));
    } else if (method == "Resize") {
        const auto request = TRY(parse<pb::ResizeRequest>(call.payload));
        service.resize(id_of(request), {.rows = request.rows(), .columns = request.columns()},
                       respond_to(std::move(call.responder)));
    } else if (method == "CloseStdin") {
        const auto request = TRY(parse<pb::ProcessRequest>(call.payload));
        service.close_stdin(id_of(request), respond_to(std::move(call.responder)));
    } else if (method == "Delete") {
        const auto request = TRY(parse<pb::ProcessRequest>(call.payload));
        service.remove(id_of(request), respond_to(std::move(call.responder)));
    } else {
        return Error(Code::Unsupported, "no method '" + method + "'");
    }
    return {};
}

Result<void> dispatch_checked(GuestService& service, Channel::Call& call) {
    const std::string& method = call.method;
    if (call.service != kService) {
        return Error(Code::Unsupported, "no service '" + call.service + "'");
    }
    if (method == "Describe") {
        service.describe(respond_to<GuestDescription>(
            std::move(call.responder), [](const GuestDescription& guest) {
                pb::DescribeResponse response;
                response.set_version(guest.version);
                response.set_kernel_release(guest.kernel_release);
                return response;
            }));
    } else if (method == "Create") {
        const auto request = TRY(parse<pb::CreateRequest>(call.payload));
        ContainerSpec spec = from_message(request);
        TRY(check(spec.process));
        service.create(std::move(spec),
                       respond_to<StreamNumbers>(std::move(call.responder),
                                                 streams_message<pb::CreateResponse>));
    } else if (method == "Exec") {
        const auto request = TRY(parse<pb::ExecRequest>(call.payload));
        ProcessSpec process = from_message(request.process());
        TRY(check(process));
        service.exec(id_of(request), std::move(process),
                     respond_to<StreamNumbers>(std::move(call.responder),
                                               streams_message<pb::ExecResponse>));
    } else if (method == "Start") {
        const auto request = TRY(parse<pb::StartRequest>(call.payload));
        service.start(id_of(request),
                      respond_to<Started>(std::move(call.responder), [](const Started& started) {
                          pb::StartResponse response;
                          response.set_pid(started.pid);
                          response.set_exec_errno(started.exec_errno);
                          return response;
                      }));
    } else if (method == "Shutdown") {
        service.shutdown(respond_to(std::move(call.responder)));
    } else {
        return dispatch_process(service, call);
    }
    return {};
}

}  // namespace

void GuestClient::describe(std::chrono::milliseconds deadline, OnResult<GuestDescription> done) {
    channel_->call(kService, "Describe", "", {.deadline = deadline, .fds = {}},
                   reply_to<pb::DescribeResponse, GuestDescription>(
                       std::move(done), [](const pb::DescribeResponse& message) {
                           return GuestDescription{.version = message.version(),
                                                   .kernel_release = message.kernel_release()};
                       }));
}

void GuestClient::create(const ContainerSpec& spec, OnResult<StreamNumbers> done) {
    channel_->call(kService, "Create", to_message(spec).SerializeAsString(), {},
                   reply_to<pb::CreateResponse, StreamNumbers>(std::move(done),
                                                               numbers_of<pb::CreateResponse>));
}

void GuestClient::start(const ProcessId& process, OnResult<Started> done) {
    channel_->call(
        kService, "Start", with_id<pb::StartRequest>(process).SerializeAsString(), {},
        reply_to<pb::StartResponse, Started>(std::move(done), [](const pb::StartResponse& message) {
            return Started{.pid = message.pid(), .exec_errno = message.exec_errno()};
        }));
}

void GuestClient::exec(const ProcessId& id, const ProcessSpec& spec, OnResult<StreamNumbers> done) {
    auto request = with_id<pb::ExecRequest>(id);
    *request.mutable_process() = to_message(spec);
    channel_->call(
        kService, "Exec", request.SerializeAsString(), {},
        reply_to<pb::ExecResponse, StreamNumbers>(std::move(done), numbers_of<pb::ExecResponse>));
}

void GuestClient::signal(const ProcessId& process, std::uint32_t signal, bool all,
                         OnResult<void> done) {
    auto request = with_id<pb::SignalRequest>(process);
    request.set_signal(signal);
    request.set_all(all);
    channel_->call(kService, "Signal", request.SerializeAsString(), {}, reply_to(std::move(done)));
}

void GuestClient::wait(const ProcessId& process, OnResult<std::uint32_t> done) {
    channel_->call(kService, "Wait", with_id<pb::ProcessRequest>(process).SerializeAsString(), {},
                   reply_to<pb::WaitResponse, std::uint32_t>(
                       std::move(done),
                       [](const pb::WaitResponse& message) { return message.exit_status(); }));
}

void GuestClient::resize(const ProcessId& process, WindowSize size, OnResult<void> done) {
    auto request = with_id<pb::ResizeRequest>(process);
    request.set_rows(size.rows);
    request.set_columns(size.columns);
    channel_->call(kService, "Resize", request.SerializeAsString(), {}, reply_to(std::move(done)));
}

void GuestClient::close_stdin(const ProcessId& process, OnResult<void> done) {
    channel_->call(kService, "CloseStdin", with_id<pb::ProcessRequest>(process).SerializeAsString(),
                   {}, reply_to(std::move(done)));
}

void GuestClient::remove(const ProcessId& process, OnResult<void> done) {
    channel_->call(kService, "Delete", with_id<pb::ProcessRequest>(process).SerializeAsString(), {},
                   reply_to(std::move(done)));
}

void GuestClient::shutdown(std::chrono::milliseconds deadline, OnResult<void> done) {
    channel_->call(kService, "Shutdown", "", {.deadline = deadline, .fds = {}},
                   reply_to(std::move(done)));
}

void dispatch(GuestService& service, Channel::Call call) {
    // Whoever does not answer leaves the responder with us.
    if (Result<void> dispatched = dispatch_checked(service, call); !dispatched) {
        call.responder.respond(std::move(dispatched).error());
    }
}

}  // namespace pepita::runtime
