#include "runtime/guest_api.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/guest.pb.h"
#include "runtime/api/message_fields.h"
#include "runtime/container.h"
#include "runtime/network.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/message.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime {

namespace pb = guest::v1;

namespace api {

// Requests and responses that are no struct of the faces.
struct ExecRequest {
    ProcessId id;
    ProcessSpec process;
};
struct SignalRequest {
    ProcessId id;
    std::uint32_t signal = 0;
    bool all = false;
};
struct WaitResponse {
    std::uint32_t exit_status = 0;
};
struct ResizeRequest {
    ProcessId id;
    WindowSize size;
};
struct ContainerId {
    std::string container;
};
struct UpdateRequest {
    std::string container;
    ResourcesSpec resources;
};
struct AdjustClockRequest {
    std::int64_t offset_ns = 0;
};
struct AdjustClockResponse {
    std::int64_t time_ns = 0;
};
struct DialRequest {
    std::uint32_t port = 0;
};
struct DialResponse {
    std::uint64_t stream = 0;
};

template <>
constexpr Terminal kLastOf<Terminal> = Terminal::Yes;
template <>
constexpr WrittenTo kLastOf<WrittenTo> = WrittenTo::InPlace;
template <>
constexpr Propagation kLastOf<Propagation> = Propagation::Unbindable;

PEPITA_MESSAGE(GuestDescription, pb::GuestDescription, version, kernel_release)
PEPITA_MESSAGE(Capabilities, pb::Capabilities, bounding, effective, inheritable, permitted, ambient)
PEPITA_MESSAGE(Rlimit, pb::Rlimit, resource, soft, hard)
PEPITA_MESSAGE(WindowSize, pb::WindowSize, rows, columns)
PEPITA_MESSAGE(Streams, pb::Streams, has_stdin, has_stdout, has_stderr)
PEPITA_MESSAGE(SchedulerSpec, pb::SchedulerSpec, policy, nice, priority, flags, runtime_ns,
               deadline_ns, period_ns)
PEPITA_MESSAGE(IoPrioritySpec, pb::IoPrioritySpec, io_class, priority)
PEPITA_MESSAGE(UserLookup, pb::UserLookup, user, group, adds_groups)
PEPITA_MESSAGE(UserIds, pb::UserIds, uid, gid, groups)
PEPITA_MESSAGE(ProcessSpec, pb::ProcessSpec, terminal, window, uid, gid, additional_gids, umask,
               args, env, cwd, capabilities, rlimits, no_new_privileges, oom_score_adj, streams,
               scheduler, io_priority, apparmor_profile, selinux_label, user)
PEPITA_MESSAGE(DiskId, pb::DiskId, serial, pci_address)
PEPITA_MESSAGE(TreePath, pb::TreePath, tag, path)
PEPITA_MESSAGE(RootSpec, pb::RootSpec, disk, tree, written_to, scratch_disk, scratch_directory,
               maps_ids)
PEPITA_MESSAGE(IdMapping, pb::IdMapping, container_id, host_id, size)
PEPITA_MESSAGE(MountSpec, pb::MountSpec, destination, type, source, options, tree, disk,
               uid_mappings, gid_mappings)
PEPITA_MESSAGE(ClockOffset, pb::ClockOffset, seconds, nanoseconds)
PEPITA_MESSAGE(NamespacesSpec, pb::NamespacesSpec, pid, mount, ipc, uts, network, cgroup, user,
               time, pid_of, ipc_of, uts_of, uid_mappings, gid_mappings, monotonic, boottime)
PEPITA_MESSAGE(DeviceSpec, pb::DeviceSpec, path, type, major, minor, file_mode, uid, gid)
PEPITA_MESSAGE(DeviceRule, pb::DeviceRule, allow, type, major, minor, access)
PEPITA_MESSAGE(HugepageLimit, pb::HugepageLimit, page_size, limit_bytes)
PEPITA_MESSAGE(UnifiedLimit, pb::UnifiedLimit, file, value)
PEPITA_MESSAGE(ResourcesSpec, pb::ResourcesSpec, memory_limit_bytes, pids_limit, cpu_shares,
               cpu_quota_us, cpu_period_us, devices, memory_swap_bytes, memory_reservation_bytes,
               cpu_burst_us, cpu_idle, block_io_weight, hugepage_limits, unified)
PEPITA_MESSAGE(SeccompSpec, pb::SeccompSpec, program, flags)
PEPITA_MESSAGE(HookSpec, pb::HookSpec, path, args, env, timeout_seconds)
PEPITA_MESSAGE(InnerHooks, pb::InnerHooks, create_container, start_container, create_state,
               start_state)
PEPITA_MESSAGE(SysctlSpec, pb::SysctlSpec, name, value)
PEPITA_MESSAGE(ContainerSpec, pb::ContainerSpec, id, root, root_read_only, hostname, domainname,
               namespaces, mounts, masked_paths, read_only_paths, devices, resources, sysctls,
               process, seccomp, personality, root_propagation, hooks)
PEPITA_MESSAGE(StreamNumbers, pb::StreamNumbers, in, out, err)
PEPITA_MESSAGE(ProcessId, pb::ProcessId, container, exec)
PEPITA_MESSAGE(Started, pb::Started, pid, exec_errno)
PEPITA_MESSAGE(Stall, pb::Stall, total_us, average_10s, average_60s, average_300s)
PEPITA_MESSAGE(Pressure, pb::Pressure, some, full)
PEPITA_MESSAGE(ContainerStats, pb::ContainerStats, cpu_usage_us, cpu_user_us, cpu_system_us,
               cpu_throttled_us, memory_bytes, memory_anonymous_bytes, memory_inactive_file_bytes,
               page_faults, page_faults_major, oom_kills, pids, cpu_periods, cpu_throttled_periods,
               cpu_pressure, memory_limit_bytes, memory_peak_bytes, memory_file_bytes,
               memory_swap_bytes, memory_pressure, pids_limit, io_read_bytes, io_written_bytes,
               io_reads, io_writes, io_pressure, memory_mapped_bytes, memory_kernel_bytes,
               memory_limit_hits, huge_page_bytes, processes, open_files, sockets, open_files_limit,
               disk_bytes, disk_free_bytes, disk_inodes, disk_free_inodes)
PEPITA_MESSAGE(NetworkAddress, pb::NetworkAddress, address, peer, prefix_length, scope, broadcast)
PEPITA_MESSAGE(NetworkInterface, pb::NetworkInterface, name, mac, mtu, has_ipv6, addresses)
PEPITA_MESSAGE(NetworkHop, pb::NetworkHop, interface, gateway, flags, weight)
PEPITA_MESSAGE(NetworkRoute, pb::NetworkRoute, family, destination, prefix_length, type, scope,
               protocol, tos, priority, source, metrics, hops)
PEPITA_MESSAGE(NetworkNeighbour, pb::NetworkNeighbour, interface, address, mac)
PEPITA_MESSAGE(NetworkConfig, pb::NetworkConfig, interfaces, routes, neighbours)
PEPITA_MESSAGE(ExecRequest, pb::ExecRequest, id, process)
PEPITA_MESSAGE(SignalRequest, pb::SignalRequest, id, signal, all)
PEPITA_MESSAGE(WaitResponse, pb::WaitResponse, exit_status)
PEPITA_MESSAGE(ResizeRequest, pb::ResizeRequest, id, size)
PEPITA_MESSAGE(ContainerId, pb::ContainerId, container)
PEPITA_MESSAGE(UpdateRequest, pb::UpdateRequest, container, resources)
PEPITA_MESSAGE(AdjustClockRequest, pb::AdjustClockRequest, offset_ns)
PEPITA_MESSAGE(AdjustClockResponse, pb::AdjustClockResponse, time_ns)
PEPITA_MESSAGE(DialRequest, pb::DialRequest, port)
PEPITA_MESSAGE(DialResponse, pb::DialResponse, stream)

}  // namespace api

namespace {

constexpr std::string_view kService = "pepita.guest.v1.Guest";

template <typename T>
Result<T> value_of(std::string_view payload) {
    const auto message = TRY(api::parse<typename api::MessageOf<T>::Message>(payload));
    std::optional<T> value = api::from_message<T>(message);
    if (!value) {
        return Error(Code::InvalidArgument, "a payload with a value that is not known");
    }
    return *std::move(value);
}

std::string payload_of(const api::HasMessage auto& value) {
    return api::to_message(value).SerializeAsString();
}

// What the caller asks for is what `convert` makes of the response.
template <typename Response, typename T>
Channel::Reply reply_to(OnResult<T> done, T (*convert)(Response)) {
    return [done = std::move(done), convert](Result<std::string> payload) mutable {
        if (!payload) {
            return done(std::move(payload).error());
        }
        Result<Response> response = value_of<Response>(*payload);
        if (!response) {
            return done(std::move(response).error());
        }
        done(convert(*std::move(response)));
    };
}

template <typename T>
Channel::Reply reply_to(OnResult<T> done) {
    if constexpr (std::is_void_v<T>) {
        return api::reply_to<pb::Empty, void>(std::move(done), [](const pb::Empty&) {});
    } else {
        return reply_to<T, T>(std::move(done), [](T response) { return response; });
    }
}

template <typename T>
OnResult<T> respond_to(Channel::Call& call) {
    if constexpr (std::is_void_v<T>) {
        return api::respond_to(std::move(call.responder));
    } else {
        return api::respond_to<T>(std::move(call.responder),
                                  [](const T& value) { return api::to_message(value); });
    }
}

// A program is looked up by the first of them.
Result<void> check(const ProcessSpec& process) {
    if (process.args.empty()) {
        return Error(Code::InvalidArgument, "a process without arguments");
    }
    return {};
}

Result<void> check(const ContainerSpec& spec) {
    if (spec.seccomp) {
        const std::size_t size = spec.seccomp->program.size();
        if (size == 0 || size > SeccompSpec::kProgramBytesMax ||
            size % SeccompSpec::kInstructionBytes != 0) {
            return Error(Code::InvalidArgument,
                         "a seccomp program of " + std::to_string(size) + " bytes");
        }
        if ((spec.seccomp->flags & ~SeccompSpec::kFlags) != 0) {
            return Error(Code::InvalidArgument, "a seccomp flag that is not known");
        }
    }
    return check(spec.process);
}

Result<void> describe(GuestService& service, Channel::Call& call) {
    service.describe(respond_to<GuestDescription>(call));
    return {};
}

Result<void> create(GuestService& service, Channel::Call& call) {
    auto spec = TRY(value_of<ContainerSpec>(call.payload));
    TRY(check(spec));
    service.create(std::move(spec), respond_to<StreamNumbers>(call));
    return {};
}

Result<void> start(GuestService& service, Channel::Call& call) {
    auto id = TRY(value_of<ProcessId>(call.payload));
    service.start(std::move(id), respond_to<Started>(call));
    return {};
}

Result<void> exec(GuestService& service, Channel::Call& call) {
    auto request = TRY(value_of<api::ExecRequest>(call.payload));
    TRY(check(request.process));
    service.exec(std::move(request.id), std::move(request.process),
                 respond_to<StreamNumbers>(call));
    return {};
}

Result<void> signal(GuestService& service, Channel::Call& call) {
    auto request = TRY(value_of<api::SignalRequest>(call.payload));
    service.signal(std::move(request.id), request.signal, request.all, respond_to<void>(call));
    return {};
}

Result<void> wait(GuestService& service, Channel::Call& call) {
    auto id = TRY(value_of<ProcessId>(call.payload));
    service.wait(
        std::move(id),
        api::respond_to<std::uint32_t>(std::move(call.responder), [](std::uint32_t status) {
            return api::to_message(api::WaitResponse{.exit_status = status});
        }));
    return {};
}

Result<void> resize(GuestService& service, Channel::Call& call) {
    auto request = TRY(value_of<api::ResizeRequest>(call.payload));
    service.resize(std::move(request.id), request.size, respond_to<void>(call));
    return {};
}

Result<void> close_stdin(GuestService& service, Channel::Call& call) {
    auto id = TRY(value_of<ProcessId>(call.payload));
    service.close_stdin(std::move(id), respond_to<void>(call));
    return {};
}

Result<void> remove(GuestService& service, Channel::Call& call) {
    auto id = TRY(value_of<ProcessId>(call.payload));
    service.remove(std::move(id), respond_to<void>(call));
    return {};
}

Result<void> shutdown(GuestService& service, Channel::Call& call) {
    service.shutdown(respond_to<void>(call));
    return {};
}

Result<void> rescan(GuestService& service, Channel::Call& call) {
    service.rescan(respond_to<void>(call));
    return {};
}

Result<void> release(GuestService& service, Channel::Call& call) {
    auto id = TRY(value_of<DiskId>(call.payload));
    service.release(std::move(id), respond_to<void>(call));
    return {};
}

Result<void> stats(GuestService& service, Channel::Call& call) {
    auto request = TRY(value_of<api::ContainerId>(call.payload));
    service.stats(std::move(request.container), respond_to<ContainerStats>(call));
    return {};
}

Result<void> pause(GuestService& service, Channel::Call& call) {
    auto request = TRY(value_of<api::ContainerId>(call.payload));
    service.pause(std::move(request.container), api::respond_to(std::move(call.responder)));
    return {};
}

Result<void> resume(GuestService& service, Channel::Call& call) {
    auto request = TRY(value_of<api::ContainerId>(call.payload));
    service.resume(std::move(request.container), api::respond_to(std::move(call.responder)));
    return {};
}

Result<void> update(GuestService& service, Channel::Call& call) {
    auto request = TRY(value_of<api::UpdateRequest>(call.payload));
    service.update(std::move(request.container), std::move(request.resources),
                   api::respond_to(std::move(call.responder)));
    return {};
}

Result<void> configure_network(GuestService& service, Channel::Call& call) {
    auto config = TRY(value_of<NetworkConfig>(call.payload));
    service.configure_network(std::move(config), respond_to<void>(call));
    return {};
}

Result<void> adjust_clock(GuestService& service, Channel::Call& call) {
    const auto request = TRY(value_of<api::AdjustClockRequest>(call.payload));
    service.adjust_clock(
        std::chrono::nanoseconds(request.offset_ns),
        api::respond_to<std::chrono::nanoseconds>(
            std::move(call.responder), [](std::chrono::nanoseconds time) {
                return api::to_message(api::AdjustClockResponse{.time_ns = time.count()});
            }));
    return {};
}

Result<void> dial(GuestService& service, Channel::Call& call) {
    const auto request = TRY(value_of<api::DialRequest>(call.payload));
    if (request.port == 0 || request.port > std::numeric_limits<std::uint16_t>::max()) {
        return Error(Code::InvalidArgument, "port " + std::to_string(request.port) + " is none");
    }
    service.dial(
        static_cast<std::uint16_t>(request.port),
        api::respond_to<std::uint64_t>(std::move(call.responder), [](std::uint64_t stream) {
            return api::to_message(api::DialResponse{.stream = stream});
        }));
    return {};
}

Result<void> user(GuestService& service, Channel::Call& call) {
    auto request = TRY(value_of<api::ContainerId>(call.payload));
    service.user(std::move(request.container), respond_to<UserIds>(call));
    return {};
}

struct Method {
    std::string_view name;
    Result<void> (*serve)(GuestService& service, Channel::Call& call);
};
constexpr std::array kMethods{Method{.name = "Describe", .serve = describe},
                              Method{.name = "Create", .serve = create},
                              Method{.name = "Start", .serve = start},
                              Method{.name = "Exec", .serve = exec},
                              Method{.name = "Signal", .serve = signal},
                              Method{.name = "Wait", .serve = wait},
                              Method{.name = "Resize", .serve = resize},
                              Method{.name = "CloseStdin", .serve = close_stdin},
                              Method{.name = "Delete", .serve = remove},
                              Method{.name = "Shutdown", .serve = shutdown},
                              Method{.name = "Rescan", .serve = rescan},
                              Method{.name = "Release", .serve = release},
                              Method{.name = "Stats", .serve = stats},
                              Method{.name = "Pause", .serve = pause},
                              Method{.name = "Resume", .serve = resume},
                              Method{.name = "Update", .serve = update},
                              Method{.name = "ConfigureNetwork", .serve = configure_network},
                              Method{.name = "AdjustClock", .serve = adjust_clock},
                              Method{.name = "Dial", .serve = dial},
                              Method{.name = "User", .serve = user}};

Result<void> dispatch_checked(GuestService& service, Channel::Call& call) {
    if (call.service != kService) {
        return Error(Code::Unsupported, "no service '" + call.service + "'");
    }
    const auto* const method = std::ranges::find(kMethods, call.method, &Method::name);
    if (method == kMethods.end()) {
        return Error(Code::Unsupported, "no method '" + call.method + "'");
    }
    return method->serve(service, call);
}

}  // namespace

void GuestClient::describe(std::chrono::milliseconds deadline, OnResult<GuestDescription> done) {
    channel_->call(kService, "Describe", "", {.deadline = deadline, .fds = {}},
                   reply_to(std::move(done)));
}

void GuestClient::create(const ContainerSpec& spec, OnResult<StreamNumbers> done) {
    channel_->call(kService, "Create", payload_of(spec), {}, reply_to(std::move(done)));
}

void GuestClient::start(const ProcessId& process, OnResult<Started> done) {
    channel_->call(kService, "Start", payload_of(process), {}, reply_to(std::move(done)));
}

void GuestClient::exec(const ProcessId& id, const ProcessSpec& spec, OnResult<StreamNumbers> done) {
    channel_->call(kService, "Exec", payload_of(api::ExecRequest{.id = id, .process = spec}), {},
                   reply_to(std::move(done)));
}

void GuestClient::signal(const ProcessId& process, std::uint32_t signal, bool all,
                         OnResult<void> done) {
    channel_->call(kService, "Signal",
                   payload_of(api::SignalRequest{.id = process, .signal = signal, .all = all}), {},
                   reply_to(std::move(done)));
}

void GuestClient::wait(const ProcessId& process, OnResult<std::uint32_t> done) {
    channel_->call(
        kService, "Wait", payload_of(process), {},
        reply_to<api::WaitResponse, std::uint32_t>(
            std::move(done), [](api::WaitResponse response) { return response.exit_status; }));
}

void GuestClient::resize(const ProcessId& process, WindowSize size, OnResult<void> done) {
    channel_->call(kService, "Resize", payload_of(api::ResizeRequest{.id = process, .size = size}),
                   {}, reply_to(std::move(done)));
}

void GuestClient::close_stdin(const ProcessId& process, OnResult<void> done) {
    channel_->call(kService, "CloseStdin", payload_of(process), {}, reply_to(std::move(done)));
}

void GuestClient::remove(const ProcessId& process, OnResult<void> done) {
    channel_->call(kService, "Delete", payload_of(process), {}, reply_to(std::move(done)));
}

void GuestClient::shutdown(std::chrono::milliseconds deadline, OnResult<void> done) {
    channel_->call(kService, "Shutdown", "", {.deadline = deadline, .fds = {}},
                   reply_to(std::move(done)));
}

void GuestClient::rescan(OnResult<void> done) {
    channel_->call(kService, "Rescan", "", {}, reply_to(std::move(done)));
}

void GuestClient::release(const DiskId& disk, OnResult<void> done) {
    channel_->call(kService, "Release", payload_of(disk), {}, reply_to(std::move(done)));
}

void GuestClient::stats(const std::string& container, OnResult<ContainerStats> done) {
    channel_->call(kService, "Stats", payload_of(api::ContainerId{.container = container}), {},
                   reply_to(std::move(done)));
}

void GuestClient::pause(const std::string& container, OnResult<void> done) {
    channel_->call(kService, "Pause", payload_of(api::ContainerId{.container = container}), {},
                   reply_to(std::move(done)));
}

void GuestClient::resume(const std::string& container, OnResult<void> done) {
    channel_->call(kService, "Resume", payload_of(api::ContainerId{.container = container}), {},
                   reply_to(std::move(done)));
}

void GuestClient::update(const std::string& container, const ResourcesSpec& resources,
                         OnResult<void> done) {
    channel_->call(kService, "Update",
                   payload_of(api::UpdateRequest{.container = container, .resources = resources}),
                   {}, reply_to(std::move(done)));
}

ResourcesSpec merged(const ResourcesSpec& base, const ResourcesSpec& changes) {
    auto message = api::to_message(base);
    // What is repeated is replaced, not joined.
    if (!changes.devices.empty()) {
        message.clear_devices();
    }
    if (!changes.hugepage_limits.empty()) {
        message.clear_hugepage_limits();
    }
    if (!changes.unified.empty()) {
        message.clear_unified();
    }
    message.MergeFrom(api::to_message(changes));
    return api::from_message<ResourcesSpec>(message).value_or(changes);  // always there
}

void GuestClient::configure_network(const NetworkConfig& config, OnResult<void> done) {
    channel_->call(kService, "ConfigureNetwork", payload_of(config), {}, reply_to(std::move(done)));
}

void GuestClient::adjust_clock(std::chrono::nanoseconds offset,
                               OnResult<std::chrono::nanoseconds> done) {
    channel_->call(kService, "AdjustClock",
                   payload_of(api::AdjustClockRequest{.offset_ns = offset.count()}), {},
                   reply_to<api::AdjustClockResponse, std::chrono::nanoseconds>(
                       std::move(done), [](api::AdjustClockResponse response) {
                           return std::chrono::nanoseconds(response.time_ns);
                       }));
}

void GuestClient::dial(std::uint16_t port, OnResult<std::uint64_t> done) {
    channel_->call(
        kService, "Dial", payload_of(api::DialRequest{.port = port}), {},
        reply_to<api::DialResponse, std::uint64_t>(
            std::move(done), [](api::DialResponse response) { return response.stream; }));
}

void GuestClient::user(const std::string& container, OnResult<UserIds> done) {
    channel_->call(kService, "User", payload_of(api::ContainerId{.container = container}), {},
                   reply_to(std::move(done)));
}

void dispatch(GuestService& service, Channel::Call call) {
    // A method that does not answer leaves the responder with us.
    if (Result<void> dispatched = dispatch_checked(service, call); !dispatched) {
        call.responder.respond(std::move(dispatched).error());
    }
}

}  // namespace pepita::runtime
