#include "runtime/sandbox_api.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/metrics.h"
#include "runtime/api/sandbox.pb.h"
#include "runtime/container.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/message.h"
#include "runtime/rpc/on_result.h"
#include "runtime/task_api.h"

namespace pepita::runtime {
namespace {

namespace pb = ::containerd::runtime::sandbox::v1;
using api::parse;
using api::reply_to;
using api::respond_to;

constexpr std::string_view kService = "containerd.runtime.sandbox.v1.Sandbox";
constexpr std::string_view kPodSpecType = "pepita.pod.v1.PodSpec";
constexpr std::string_view kReady = "SANDBOX_READY";
constexpr std::int64_t kNanoseconds = 1'000'000'000;

void put_time(std::int64_t time_ns, pb::Timestamp& message) {
    message.set_seconds(time_ns / kNanoseconds);
    message.set_nanos(static_cast<std::int32_t>(time_ns % kNanoseconds));
}

std::int64_t time_of(const pb::Timestamp& message) {
    return message.seconds() * kNanoseconds + message.nanos();
}

Result<void> check_id(const SandboxService& service, const std::string& id) {
    if (!id.empty() && id != service.sandbox_id()) {
        return Error(Code::NotFound, "pod '" + id + "' does not exist");
    }
    return {};
}

Result<void> create(SandboxService& service, Channel::Call& call) {
    const auto request = TRY(parse<pb::CreateSandboxRequest>(call.payload));
    PodSpec spec;
    spec.end = PodEnd::WhenStopped;
    if (request.options().type_url() == kPodSpecType) {
        spec = TRY(decode_pod_spec(request.options().value()));
    }
    spec.name = request.sandbox_id();
    if (!request.netns_path().empty()) {
        spec.network_namespace = request.netns_path();
    }
    service.create_sandbox(std::move(spec), respond_to(std::move(call.responder)));
    return {};
}

Result<void> start(SandboxService& service, Channel::Call& call) {
    service.start_sandbox(
        respond_to<SandboxStarted>(std::move(call.responder), [](const SandboxStarted& started) {
            pb::StartSandboxResponse response;
            response.set_pid(started.pid);
            put_time(started.created_at_ns, *response.mutable_created_at());
            return response;
        }));
    return {};
}

Result<void> platform(SandboxService& /*service*/, Channel::Call& call) {
    pb::PlatformResponse response;
    response.mutable_platform()->set_os("linux");
    response.mutable_platform()->set_architecture("amd64");
    call.responder.respond(response.SerializeAsString());
    return {};
}

Result<void> stop(SandboxService& service, Channel::Call& call) {
    const auto request = TRY(parse<pb::StopSandboxRequest>(call.payload));
    service.stop_sandbox(std::chrono::seconds(request.timeout_secs()),
                         respond_to(std::move(call.responder)));
    return {};
}

Result<void> wait(SandboxService& service, Channel::Call& call) {
    service.wait_sandbox(respond_to<TaskExit>(std::move(call.responder), [](const TaskExit& exit) {
        pb::WaitSandboxResponse response;
        response.set_exit_status(exit.exit_status);
        put_time(exit.exited_at_ns, *response.mutable_exited_at());
        return response;
    }));
    return {};
}

Result<void> status(SandboxService& service, Channel::Call& call) {
    const auto request = TRY(parse<pb::SandboxStatusRequest>(call.payload));
    service.sandbox_status(respond_to<SandboxStatus>(
        std::move(call.responder),
        [id = service.sandbox_id(), verbose = request.verbose()](const SandboxStatus& status) {
            pb::SandboxStatusResponse response;
            response.set_sandbox_id(id);
            response.set_pid(status.pid);
            response.set_state(status.is_ready ? std::string(kReady) : "SANDBOX_NOTREADY");
            put_time(status.created_at_ns, *response.mutable_created_at());
            put_time(status.exited_at_ns, *response.mutable_exited_at());
            if (verbose) {
                for (const auto& [name, value] : status.info) {
                    (*response.mutable_info())[name] = value;
                }
            }
            return response;
        }));
    return {};
}

Result<void> ping(SandboxService& /*service*/, Channel::Call& call) {
    call.responder.respond(std::string());
    return {};
}

Result<void> shutdown(SandboxService& service, Channel::Call& call) {
    service.shutdown_sandbox(respond_to(std::move(call.responder)));
    return {};
}

Result<void> metrics(SandboxService& service, Channel::Call& call) {
    service.sandbox_stats(respond_to<ContainerStats>(
        std::move(call.responder), [id = service.sandbox_id()](const ContainerStats& stats) {
            pb::SandboxMetricsResponse response;
            pb::Metric& metric = *response.mutable_metrics();
            const auto now = std::chrono::system_clock::now().time_since_epoch();
            put_time(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count(),
                     *metric.mutable_timestamp());
            metric.set_id(id);
            metric.mutable_data()->set_type_url(std::string(api::kMetricsType));
            metric.mutable_data()->set_value(api::encode_metrics(stats));
            return response;
        }));
    return {};
}

struct Method {
    std::string_view name;
    Result<void> (*serve)(SandboxService& service, Channel::Call& call);
};
// CreateSandbox apart, which names the pod.
constexpr std::array kMethods{Method{.name = "StartSandbox", .serve = start},
                              Method{.name = "Platform", .serve = platform},
                              Method{.name = "StopSandbox", .serve = stop},
                              Method{.name = "WaitSandbox", .serve = wait},
                              Method{.name = "SandboxStatus", .serve = status},
                              Method{.name = "PingSandbox", .serve = ping},
                              Method{.name = "ShutdownSandbox", .serve = shutdown},
                              Method{.name = "SandboxMetrics", .serve = metrics}};

Result<void> dispatch_checked(SandboxService& service, Channel::Call& call) {
    if (call.method == "CreateSandbox") {
        return create(service, call);
    }
    for (const Method& method : kMethods) {
        if (method.name == call.method) {
            // Each request has the id as its first field.
            TRY(check_id(service, TRY(parse<pb::SandboxRequest>(call.payload)).sandbox_id()));
            return method.serve(service, call);
        }
    }
    return Error(Code::Unsupported, "no method '" + call.method + "'");
}

template <typename Message>
Message request_for(const std::string& pod) {
    Message message;
    message.set_sandbox_id(pod);
    return message;
}

template <typename Message>
void call(Channel& channel, std::string_view method, const Message& message, Channel::Reply reply) {
    channel.call(kService, method, message.SerializeAsString(), {}, std::move(reply));
}

SandboxStatus status_of(const pb::SandboxStatusResponse& response) {
    return {.pid = response.pid(),
            .is_ready = response.state() == kReady,
            .created_at_ns = time_of(response.created_at()),
            .exited_at_ns = time_of(response.exited_at()),
            .info = {response.info().begin(), response.info().end()}};
}

// Of those whose answer is nothing.
Channel::Reply reply_to_done(OnResult<void> done) {
    return [done = std::move(done)](Result<std::string> payload) mutable {
        done(payload ? Result<void>() : std::move(payload).error());
    };
}

}  // namespace

void SandboxClient::create(const PodSpec& spec, OnResult<void> done) {
    auto request = request_for<pb::CreateSandboxRequest>(spec.name);
    request.mutable_options()->set_type_url(std::string(kPodSpecType));
    request.mutable_options()->set_value(encode(spec));
    request.set_netns_path(spec.network_namespace);
    call(*channel_, "CreateSandbox", request, reply_to_done(std::move(done)));
}

void SandboxClient::start(const std::string& pod, OnResult<SandboxStarted> done) {
    call(*channel_, "StartSandbox", request_for<pb::SandboxRequest>(pod),
         reply_to<pb::StartSandboxResponse, SandboxStarted>(
             std::move(done), [](const pb::StartSandboxResponse& response) {
                 return SandboxStarted{.pid = response.pid(),
                                       .created_at_ns = time_of(response.created_at())};
             }));
}

void SandboxClient::stop(const std::string& pod, std::chrono::seconds patience,
                         OnResult<void> done) {
    auto request = request_for<pb::StopSandboxRequest>(pod);
    request.set_timeout_secs(static_cast<std::uint32_t>(patience.count()));
    call(*channel_, "StopSandbox", request, reply_to_done(std::move(done)));
}

void SandboxClient::wait(const std::string& pod, OnResult<TaskExit> done) {
    call(*channel_, "WaitSandbox", request_for<pb::SandboxRequest>(pod),
         reply_to<pb::WaitSandboxResponse, TaskExit>(
             std::move(done), [](const pb::WaitSandboxResponse& response) {
                 return TaskExit{.exit_status = response.exit_status(),
                                 .exited_at_ns = time_of(response.exited_at()),
                                 .pid = 0};
             }));
}

void SandboxClient::status(const std::string& pod, OnResult<SandboxStatus> done) {
    auto request = request_for<pb::SandboxStatusRequest>(pod);
    request.set_verbose(true);
    call(*channel_, "SandboxStatus", request,
         reply_to<pb::SandboxStatusResponse, SandboxStatus>(std::move(done), status_of));
}

void SandboxClient::stats(const std::string& pod, OnResult<ContainerStats> done) {
    call(*channel_, "SandboxMetrics", request_for<pb::SandboxRequest>(pod),
         reply_to<pb::SandboxMetricsResponse, ContainerStats>(
             std::move(done), [](const pb::SandboxMetricsResponse& response) {
                 return api::decode_metrics(response.metrics().data().value());
             }));
}

void SandboxClient::shutdown(const std::string& pod, OnResult<void> done) {
    call(*channel_, "ShutdownSandbox", request_for<pb::SandboxRequest>(pod),
         reply_to_done(std::move(done)));
}

bool is_sandbox_call(const Channel::Call& call) { return call.service == kService; }

void dispatch(SandboxService& service, Channel::Call call) {
    if (Result<void> dispatched = dispatch_checked(service, call); !dispatched) {
        call.responder.respond(std::move(dispatched).error());
    }
}

}  // namespace pepita::runtime
