#include "cri/dispatch.h"

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "cri/api/cri.h"
#include "cri/grpc_server.h"
#include "cri/image_service.h"
#include "cri/runtime_service.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/on_result.h"

namespace pepita::cri {
namespace {

using runtime::OnResult;

template <typename Method>
struct MethodTypes;
template <typename S, typename Q, typename R>
struct MethodTypes<void (S::*)(const Q&, OnResult<R>)> {
    using Service = S;
    using Request = Q;
    using Response = R;
};

template <typename Service>
Service& service_of(const Services& services) {
    if constexpr (std::same_as<Service, ImageService>) {
        return services.images;
    } else {
        return services.runtime;
    }
}

template <typename Request>
Result<Request> parse(GrpcCall& call) {
    Request request;
    if (!request.ParseFromString(call.take_request())) {
        return Error(Code::InvalidArgument, "the request is no message of '" + call.method() + "'");
    }
    return request;
}

/// One message for one message.
template <auto Method>
void unary(const Services& services, GrpcCall call) {
    using Types = MethodTypes<decltype(Method)>;
    auto request = parse<typename Types::Request>(call);
    if (!request) {
        return call.finish(std::move(request).error());
    }
    std::invoke(Method, service_of<typename Types::Service>(services), *request,
                [call = std::move(call)](Result<typename Types::Response> response) mutable {
                    if (!response) {
                        return call.finish(std::move(response).error());
                    }
                    call.write(response->SerializeAsString());
                    call.finish({});
                });
}

/// What `Method` lists, in several messages, so that none is too large. A Stream method's messages
/// have the members and the numbers of its List method's.
template <auto Method, auto Items>
void streamed(const Services& services, GrpcCall call) {
    constexpr int items_max = 256;
    using Types = MethodTypes<decltype(Method)>;
    auto request = parse<typename Types::Request>(call);
    if (!request) {
        return call.finish(std::move(request).error());
    }
    std::invoke(Method, service_of<typename Types::Service>(services), *request,
                [call = std::move(call)](Result<typename Types::Response> response) mutable {
                    if (!response) {
                        return call.finish(std::move(response).error());
                    }
                    typename Types::Response part;
                    for (auto& item : *Items(*response)) {
                        *Items(part)->Add() = std::move(item);
                        if (Items(part)->size() == items_max) {
                            call.write(part.SerializeAsString());
                            part.Clear();
                        }
                    }
                    if (!Items(part)->empty()) {
                        call.write(part.SerializeAsString());
                    }
                    call.finish({});
                });
}

constexpr auto kItems = [](auto& list) { return list.mutable_items(); };
constexpr auto kContainers = [](auto& list) { return list.mutable_containers(); };
constexpr auto kPodMetrics = [](auto& list) { return list.mutable_pod_metrics(); };
constexpr auto kStats = [](auto& list) { return list.mutable_stats(); };
constexpr auto kImageList = [](auto& list) { return list.mutable_images(); };

void refuse_checkpoint(const Services& /*services*/, GrpcCall call) {
    call.finish(Error(Code::FailedPrecondition,
                      "'" + call.method() + "': pepita takes no snapshots of pods yet"));
}

// The events of all pods, until the client has enough.
void container_events(const Services& services, GrpcCall call) {
    constexpr std::size_t waiting_max = 1000;
    services.runtime.watch_events([call = std::move(call)](
                                      const v1::ContainerEventResponse& event) mutable {
        if (call.is_over()) {
            call.finish({});
            return false;
        }
        if (call.waiting() >= waiting_max) {
            call.finish(Error(Code::ResourceExhausted, "events come faster than you read them"));
            return false;
        }
        call.write(event.SerializeAsString());
        return true;
    });
}

struct Entry {
    std::string_view method;
    void (*answer)(const Services& services, GrpcCall call);
};

constexpr Entry entry(std::string_view method, void (*answer)(const Services&, GrpcCall)) {
    return {.method = method, .answer = answer};
}

constexpr std::string_view kRuntime = "/runtime.v1.RuntimeService/";
constexpr std::string_view kImages = "/runtime.v1.ImageService/";

constexpr auto kRuntimeMethods = std::to_array<Entry>({
    entry("Version", unary<&RuntimeService::version>),
    entry("Status", unary<&RuntimeService::status>),
    entry("RuntimeConfig", unary<&RuntimeService::runtime_config>),
    entry("UpdateRuntimeConfig", unary<&RuntimeService::update_runtime_config>),
    entry("RunPodSandbox", unary<&RuntimeService::run_pod_sandbox>),
    entry("StopPodSandbox", unary<&RuntimeService::stop_pod_sandbox>),
    entry("RemovePodSandbox", unary<&RuntimeService::remove_pod_sandbox>),
    entry("PodSandboxStatus", unary<&RuntimeService::pod_sandbox_status>),
    entry("ListPodSandbox", unary<&RuntimeService::list_pod_sandbox>),
    entry("StreamPodSandboxes", streamed<&RuntimeService::list_pod_sandbox, kItems>),
    entry("UpdatePodSandboxResources", unary<&RuntimeService::update_pod_sandbox_resources>),
    entry("CreateContainer", unary<&RuntimeService::create_container>),
    entry("StartContainer", unary<&RuntimeService::start_container>),
    entry("StopContainer", unary<&RuntimeService::stop_container>),
    entry("RemoveContainer", unary<&RuntimeService::remove_container>),
    entry("ListContainers", unary<&RuntimeService::list_containers>),
    entry("StreamContainers", streamed<&RuntimeService::list_containers, kContainers>),
    entry("ContainerStatus", unary<&RuntimeService::container_status>),
    entry("UpdateContainerResources", unary<&RuntimeService::update_container_resources>),
    entry("ReopenContainerLog", unary<&RuntimeService::reopen_container_log>),
    entry("ExecSync", unary<&RuntimeService::exec_sync>),
    entry("Exec", unary<&RuntimeService::exec_url>),
    entry("Attach", unary<&RuntimeService::attach_url>),
    entry("PortForward", unary<&RuntimeService::port_forward_url>),
    entry("ContainerStats", unary<&RuntimeService::container_stats>),
    entry("ListContainerStats", unary<&RuntimeService::list_container_stats>),
    entry("StreamContainerStats", streamed<&RuntimeService::list_container_stats, kStats>),
    entry("PodSandboxStats", unary<&RuntimeService::pod_sandbox_stats>),
    entry("ListPodSandboxStats", unary<&RuntimeService::list_pod_sandbox_stats>),
    entry("StreamPodSandboxStats", streamed<&RuntimeService::list_pod_sandbox_stats, kStats>),
    entry("ListMetricDescriptors", unary<&RuntimeService::list_metric_descriptors>),
    entry("ListPodSandboxMetrics", unary<&RuntimeService::list_pod_sandbox_metrics>),
    entry("StreamPodSandboxMetrics",
          streamed<&RuntimeService::list_pod_sandbox_metrics, kPodMetrics>),
    entry("GetContainerEvents", container_events),
    entry("CheckpointContainer", refuse_checkpoint),
    entry("CheckpointPod", refuse_checkpoint),
    entry("RestorePod", refuse_checkpoint),
});
constexpr auto kImageMethods = std::to_array<Entry>({
    entry("ListImages", unary<&ImageService::list_images>),
    entry("StreamImages", streamed<&ImageService::list_images, kImageList>),
    entry("ImageStatus", unary<&ImageService::image_status>),
    entry("PullImage", unary<&ImageService::pull_image>),
    entry("RemoveImage", unary<&ImageService::remove_image>),
    entry("ImageFsInfo", unary<&ImageService::image_fs_info>),
});

template <std::size_t N>
const Entry* find(const std::array<Entry, N>& entries, std::string_view prefix,
                  std::string_view method) {
    if (!method.starts_with(prefix)) {
        return nullptr;
    }
    method.remove_prefix(prefix.size());
    const auto found = std::ranges::find(entries, method, &Entry::method);
    return found == entries.end() ? nullptr : &*found;
}

}  // namespace

void dispatch(const Services& services, GrpcCall call) {
    const Entry* entry = find(kRuntimeMethods, kRuntime, call.method());
    if (entry == nullptr) {
        entry = find(kImageMethods, kImages, call.method());
    }
    if (entry == nullptr) {
        return call.finish(Error(Code::Unsupported, "'" + call.method() + "' is not served"));
    }
    entry->answer(services, std::move(call));
}

}  // namespace pepita::cri
