#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/cni.h"
#include "cri/network_usage.h"
#include "cri/node_metrics.h"
#include "cri/pod_shim.h"
#include "cri/record_store.h"
#include "cri/streaming.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/on_result.h"
#include "storage/image_store.h"

namespace pepita::cri {

/// What CRI's RuntimeService asks of this node: pods, containers, what runs in them, and what they
/// use. It translates and remembers; each pod's pepita-shim does. What it remembers is on disk, so
/// one that starts finds the pods of the one before. Thread: that of `loop`; every call answers
/// once, at once or later.
class RuntimeService : public StreamTarget {
public:
    struct Options {
        std::string shim;     // the program
        std::string version;  // ours
        std::string state = "/var/lib/pepita/cri";
        std::string root = "/run/pepita";      // as of PodSpec
        std::string data = "/var/lib/pepita";  // likewise
        std::string images = std::string(storage::ImageStore::kDirectory);
        std::string vmm;                                   // "": beside the shim
        std::string qemu = "/usr/bin/qemu-system-x86_64";  // for tcg
        std::string seccomp;  // the profile "runtime/default", a file; "": there is none
        std::string network_namespaces = "/run/netns";
        runtime::LogFormat log_format = runtime::LogFormat::Text;  // of shims, too
        runtime::IsolationChoice isolation = runtime::IsolationChoice::Auto;
        /// Pods without a handler that names an isolation run without a microVM where they ask for
        /// a namespace of the host's; else they are refused.
        bool serves_host_namespaces = false;
        std::uint64_t memory_mib = 512;       // of a pod without limits
        std::uint64_t vcpus = 1;              // likewise
        std::uint64_t memory_max_mib = 2048;  // that a pod may grow to
        std::uint64_t vcpus_max = 4;          // likewise
        std::uint64_t scratch_mib = 4096;
        std::chrono::seconds boot_deadline{120};
    };
    /// All are borrowed for its life. Errors: those of its directories.
    static Result<std::unique_ptr<RuntimeService>> create(EventLoop& loop, Options options,
                                                          Cni& cni, storage::ImageStore& images);
    RuntimeService(const RuntimeService&) = delete;
    RuntimeService& operator=(const RuntimeService&) = delete;
    RuntimeService(RuntimeService&&) = delete;
    RuntimeService& operator=(RuntimeService&&) = delete;
    /// Pods go on.
    ~RuntimeService() override;

    /// For pods that are made from now on: isolation, memory, processors, scratch disk, the time to
    /// boot, the default seccomp profile and the programs. The rest of `options` is not looked at.
    void reconfigure(const Options& options);

    /// Where exec, attach and port-forward are served; borrowed. Before the first call.
    void use(StreamingServer& streaming) { streaming_ = &streaming; }

    /// Where pods' boots are counted; borrowed. Before the first call.
    void use(NodeMetrics& metrics) { metrics_ = &metrics; }
    /// What there is, but for images.
    NodeCensus census() const;

    template <typename Response>
    using Done = runtime::OnResult<Response>;

    // The node: runtime_node.cc.
    void version(const v1::VersionRequest& request, Done<v1::VersionResponse> done);
    void status(const v1::StatusRequest& request, Done<v1::StatusResponse> done);
    void runtime_config(const v1::RuntimeConfigRequest& request,
                        Done<v1::RuntimeConfigResponse> done);
    void update_runtime_config(const v1::UpdateRuntimeConfigRequest& request,
                               Done<v1::UpdateRuntimeConfigResponse> done);

    // Pods: runtime_pods.cc.
    void run_pod_sandbox(const v1::RunPodSandboxRequest& request,
                         Done<v1::RunPodSandboxResponse> done);
    void stop_pod_sandbox(const v1::StopPodSandboxRequest& request,
                          Done<v1::StopPodSandboxResponse> done);
    void remove_pod_sandbox(const v1::RemovePodSandboxRequest& request,
                            Done<v1::RemovePodSandboxResponse> done);
    void pod_sandbox_status(const v1::PodSandboxStatusRequest& request,
                            Done<v1::PodSandboxStatusResponse> done);
    void list_pod_sandbox(const v1::ListPodSandboxRequest& request,
                          Done<v1::ListPodSandboxResponse> done);
    void update_pod_sandbox_resources(const v1::UpdatePodSandboxResourcesRequest& request,
                                      Done<v1::UpdatePodSandboxResourcesResponse> done);

    // Containers: runtime_containers.cc.
    void create_container(const v1::CreateContainerRequest& request,
                          Done<v1::CreateContainerResponse> done);
    void start_container(const v1::StartContainerRequest& request,
                         Done<v1::StartContainerResponse> done);
    void stop_container(const v1::StopContainerRequest& request,
                        Done<v1::StopContainerResponse> done);
    void remove_container(const v1::RemoveContainerRequest& request,
                          Done<v1::RemoveContainerResponse> done);
    void list_containers(const v1::ListContainersRequest& request,
                         Done<v1::ListContainersResponse> done);
    void container_status(const v1::ContainerStatusRequest& request,
                          Done<v1::ContainerStatusResponse> done);
    void update_container_resources(const v1::UpdateContainerResourcesRequest& request,
                                    Done<v1::UpdateContainerResourcesResponse> done);
    void reopen_container_log(const v1::ReopenContainerLogRequest& request,
                              Done<v1::ReopenContainerLogResponse> done);

    // Processes and streams: runtime_streams.cc.
    void exec_sync(const v1::ExecSyncRequest& request, Done<v1::ExecSyncResponse> done);
    void exec_url(const v1::ExecRequest& request, Done<v1::ExecResponse> done);
    void attach_url(const v1::AttachRequest& request, Done<v1::AttachResponse> done);
    void port_forward_url(const v1::PortForwardRequest& request,
                          Done<v1::PortForwardResponse> done);

    void exec(const ExecRequest& request, OnStarted on_started, OnExit on_exit) override;
    void attach(const AttachRequest& request, OnStarted on_started, OnExit on_exit) override;
    void port_forward(const std::string& pod_id, std::uint16_t port,
                      OnConnected on_connected) override;

    // What they use: runtime_stats.cc.
    void container_stats(const v1::ContainerStatsRequest& request,
                         Done<v1::ContainerStatsResponse> done);
    void list_container_stats(const v1::ListContainerStatsRequest& request,
                              Done<v1::ListContainerStatsResponse> done);
    void pod_sandbox_stats(const v1::PodSandboxStatsRequest& request,
                           Done<v1::PodSandboxStatsResponse> done);
    void list_pod_sandbox_stats(const v1::ListPodSandboxStatsRequest& request,
                                Done<v1::ListPodSandboxStatsResponse> done);
    void list_metric_descriptors(const v1::ListMetricDescriptorsRequest& request,
                                 Done<v1::ListMetricDescriptorsResponse> done);
    void list_pod_sandbox_metrics(const v1::ListPodSandboxMetricsRequest& request,
                                  Done<v1::ListPodSandboxMetricsResponse> done);

    /// Told of each change of a container, until it says that it is gone.
    using OnEvent = std::move_only_function<bool(const v1::ContainerEventResponse&)>;
    void watch_events(OnEvent on_event) { watchers_.push_back(std::move(on_event)); }

private:
    struct Pod;
    struct Container {
        ContainerRecord record;
        Pod* pod = nullptr;
        bool is_starting = false;
        bool is_removing = false;
        std::vector<std::move_only_function<void()>> on_exit;
        EventLoop::Timer patience;  // of stop_container()
    };
    struct Pod {
        PodRecord record;
        std::unique_ptr<PodShim> shim;
        bool is_stopping = false;
        bool is_removing = false;
        std::vector<runtime::OnResult<void>> on_stopped;
        std::map<std::string, std::shared_ptr<Container>> containers;
    };
    using PodRef = std::shared_ptr<Pod>;
    using ContainerRef = std::shared_ptr<Container>;

    RuntimeService(EventLoop& loop, Options options, Cni& cni, storage::ImageStore& images,
                   RecordStore pods, RecordStore containers);

    /// A callback that does nothing once this has gone.
    template <typename T, typename Function>
    runtime::OnResult<T> while_here(Function function) {
        return [is_here = is_here_, function = std::move(function)](Result<T> result) mutable {
            if (*is_here) {
                function(std::move(result));
            }
        };
    }

    // Both by an id or its unique beginning. Errors: NotFound.
    Result<PodRef> find_pod(std::string_view id) const;
    Result<ContainerRef> find_container(std::string_view id) const;
    Result<ContainerRef> find_running(std::string_view id) const;
    PodRef pod_of(const Container& container) const;

    // Restoring: runtime_restore.cc.
    Result<void> restore();
    void rejoin(const PodRef& pod);
    void rejoin(const ContainerRef& container);

    // Pods.
    Result<PodRef> admit(const v1::RunPodSandboxRequest& request);
    Result<runtime::IsolationChoice> isolation(const PodRecord& record) const;
    static std::string cgroup(const Pod& pod, runtime::IsolationChoice isolation);
    Result<runtime::PodSpec> pod_spec(const Pod& pod) const;
    CniAttachment attachment(const Pod& pod) const;
    Result<void> make_place(const Pod& pod) const;
    Result<void> write_network_files(const Pod& pod) const;
    void start_shim(const PodRef& pod, Done<v1::RunPodSandboxResponse> done);
    void end_start(const PodRef& pod, Result<void> started, Done<v1::RunPodSandboxResponse> done);
    void watch_sandbox(const PodRef& pod);
    void on_shim_closed(const std::string& id, const Error& error);
    void on_pod_down(const PodRef& pod, const std::string& why);
    /// Takes away all that a pod has on this host but its records.
    void take_down(const PodRef& pod, runtime::OnResult<void> done);
    /// What a shim that was killed could not remove itself; Unavailable while it still runs.
    Result<void> sweep(const Pod& pod) const;
    void stop_pod(const PodRef& pod, runtime::OnResult<void> done);
    void end_stop(const PodRef& pod, const Result<void>& stopped);
    void erase(const PodRef& pod);
    std::string place(const Pod& pod) const { return options_.state + "/run/" + pod.record.id(); }
    /// Whether its network is the host's.
    static bool shares_network(const Pod& pod) {
        return pod.record.config().linux().security_context().namespace_options().network() ==
               v1::NODE;
    }
    std::string namespace_path(const Pod& pod) const {
        return shares_network(pod) ? ""
                                   : options_.network_namespaces + "/pepita-" + pod.record.id();
    }
    v1::PodSandboxStatus status_of(const Pod& pod) const;

    // Containers.
    Result<ContainerRef> admit(const Pod& pod, const v1::CreateContainerRequest& request);
    Result<void> make_bundle(const Pod& pod, Container& container,
                             const v1::PodSandboxConfig& config) const;
    std::string bundle(const Container& container) const {
        return options_.state + "/bundles/" + container.record.id();
    }
    void look_up_user(const ContainerRef& container, std::move_only_function<void()> done);
    void watch_exit(const ContainerRef& container);
    void lose(const ContainerRef& container, std::string why);
    void end_exit(const ContainerRef& container, const runtime::TaskExit& exit, bool is_oom);
    void set_exited(const ContainerRef& container, std::int32_t code, std::int64_t at_ns,
                    std::string reason, std::string message);
    void signal(const ContainerRef& container, std::uint32_t number, bool all);
    void forget(const ContainerRef& container);
    v1::ContainerStatus status_of(const Container& container) const;

    // Streams.
    class SyncExec;
    class StreamedExec;
    void start_exec(const ContainerRef& container, runtime::TaskExec exec,
                    runtime::OnResult<void> done);
    void remove_exec(const Pod& pod, const runtime::ProcessId& id);
    Result<runtime::TaskExec> exec_task(const Container& container,
                                        std::vector<std::string> command,
                                        runtime::Terminal terminal) const;

    // Stats.
    struct Usage {
        ContainerRef container;
        runtime::ContainerStats stats;
    };
    void ask_usage(const std::vector<ContainerRef>& containers,
                   std::move_only_function<void(std::vector<Usage>)> done);
    std::vector<InterfaceUsage> network_usage(const Pod& pod) const;
    void pod_stats(const PodRef& pod, Done<v1::PodSandboxStats> done);

    // Records. What cannot be written is said in the log.
    void save(const Pod& pod);
    void save(const Container& container);
    void tell(const Container& container, v1::ContainerEventType type);

    EventLoop& loop_;
    Options options_;
    Cni& cni_;
    storage::ImageStore& images_;
    StreamingServer* streaming_ = nullptr;
    NodeMetrics* metrics_ = nullptr;
    std::shared_ptr<bool> is_here_ = std::make_shared<bool>(true);
    RecordStore pod_records_;
    RecordStore container_records_;
    Reaper reaper_;
    std::map<std::string, PodRef> pods_;
    std::map<std::string, ContainerRef> containers_;
    std::list<OnEvent> watchers_;
};

}  // namespace pepita::cri
