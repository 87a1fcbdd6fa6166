#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/cni.h"
#include "cri/directories.h"
#include "cri/handlers.h"
#include "cri/identity.h"
#include "cri/network_namespace.h"
#include "cri/node_metrics.h"
#include "cri/pod_shim.h"
#include "cri/resources.h"
#include "cri/runtime_service.h"
#include "cri/selectors.h"
#include "cri/spec/namespaces.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_cgroup.h"
#include "runtime/pod_spec.h"
#include "runtime/sandbox_api.h"
#include "runtime/store.h"

// Pods: RunPodSandbox to RemovePodSandbox.

namespace pepita::cri {
namespace {

using runtime::IsolationChoice;
using runtime::OnResult;
using runtime::PodSpec;

constexpr std::chrono::seconds kStopPatience{10};
constexpr std::uint64_t kMebibyte = 1U << 20U;

Result<Handler> handler(const std::string& name) {
    const auto* found = std::ranges::find(kHandlers, name, &Handler::name);
    if (found == kHandlers.end()) {
        return Error(Code::InvalidArgument,
                     "runtime_handler: '" + name +
                         "' is none of pepita, pepita-kvm, pepita-tcg, pepita-process");
    }
    return *found;
}

/// The first namespace of the host's that it asks for; "": none.
std::string_view host_namespace(const v1::PodSandboxConfig& config) {
    const auto& options = config.linux().security_context().namespace_options();
    return options.network() == v1::NODE ? "network"
           : options.pid() == v1::NODE   ? "pid"
           : options.ipc() == v1::NODE   ? "ipc"
                                         : "";
}

/// Whom files for the pod's containers belong to: their root user.
struct Owner {
    uid_t user = 0;
    gid_t group = 0;
};

Owner owner_of(const v1::PodSandboxConfig& config) {
    const v1::UserNamespace& user =
        config.linux().security_context().namespace_options().userns_options();
    if (user.uids().empty() || user.gids().empty()) {
        return {};
    }
    return {.user = user.uids(0).host_id(), .group = user.gids(0).host_id()};
}

Result<void> write_for(const Owner& owner, const std::string& path, const std::string& text) {
    constexpr mode_t mode = 0644;
    TRY(replace_file(FdRef(AT_FDCWD), path, text, mode));
    if (::chown(path.c_str(), owner.user, owner.group) != 0) {
        return Error::from_errno(errno, "chown '" + path + "'");
    }
    return {};
}

Result<void> check_config(const v1::PodSandboxConfig& config) {
    if (config.metadata().name().empty() || config.metadata().namespace_().empty() ||
        config.metadata().uid().empty()) {
        return Error(Code::InvalidArgument,
                     "config.metadata: name, namespace and uid must not be empty");
    }
    constexpr std::size_t host_name_max = 64;
    if (config.hostname().size() > host_name_max) {
        return Error(Code::InvalidArgument, "config.hostname: is longer than 64 characters");
    }
    if (!config.log_directory().empty() && !config.log_directory().starts_with('/')) {
        return Error(Code::InvalidArgument, "config.log_directory: must be absolute");
    }
    (void)TRY(has_user_namespace(config.linux().security_context().namespace_options(),
                                 "linux.security_context.namespace_options."));
    return {};
}

bool is_same(const v1::PodSandboxMetadata& left, const v1::PodSandboxMetadata& right) {
    return left.name() == right.name() && left.namespace_() == right.namespace_() &&
           left.uid() == right.uid() && left.attempt() == right.attempt();
}

/// The node's own name where the pod has none.
std::string host_name(const v1::PodSandboxConfig& config) {
    if (!config.hostname().empty()) {
        return config.hostname();
    }
    std::array<char, 65> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& words) {
    std::string out;
    for (const std::string& word : words) {
        out += " " + word;
    }
    return out;
}

Result<std::string> resolv_conf(const v1::DNSConfig& dns) {
    if (dns.servers().empty() && dns.searches().empty() && dns.options().empty()) {
        Result<std::string> hosts = read_file("/etc/resolv.conf");
        return hosts ? *std::move(hosts) : std::string();
    }
    std::string out;
    for (const std::string& server : dns.servers()) {
        out += "nameserver " + server + "\n";
    }
    if (!dns.searches().empty()) {
        out += "search" + joined(dns.searches()) + "\n";
    }
    if (!dns.options().empty()) {
        out += "options" + joined(dns.options()) + "\n";
    }
    if (std::ranges::count(out, '\n') !=
        dns.servers_size() + (dns.searches().empty() ? 0 : 1) + (dns.options().empty() ? 0 : 1)) {
        return Error(Code::InvalidArgument, "config.dns_config: a line end is in a word");
    }
    return out;
}

Result<std::vector<CniPortMapping>> port_mappings(const v1::PodSandboxConfig& config) {
    std::vector<CniPortMapping> mappings;
    for (const v1::PortMapping& mapping : config.port_mappings()) {
        constexpr std::int32_t port_max = 65'535;
        if (mapping.host_port() == 0) {
            continue;  // it only says that the container listens
        }
        if (mapping.host_port() < 0 || mapping.host_port() > port_max ||
            mapping.container_port() < 1 || mapping.container_port() > port_max) {
            return Error(Code::InvalidArgument, "config.port_mappings: no port is " +
                                                    std::to_string(mapping.host_port()) + ":" +
                                                    std::to_string(mapping.container_port()));
        }
        mappings.push_back({.host_port = static_cast<std::uint16_t>(mapping.host_port()),
                            .container_port = static_cast<std::uint16_t>(mapping.container_port()),
                            .protocol = mapping.protocol() == v1::UDP    ? "udp"
                                        : mapping.protocol() == v1::SCTP ? "sctp"
                                                                         : "tcp",
                            .host_ip = mapping.host_ip()});
    }
    return mappings;
}

std::string without_prefix_length(const std::string& address) {
    return address.substr(0, address.find('/'));
}

Error copy_of(const Error& error) { return {error.code(), error.message()}; }

}  // namespace

// A microVM shares nothing of the host.
Result<IsolationChoice> RuntimeService::isolation(const PodRecord& record) const {
    const auto named = TRY(handler(record.runtime_handler())).isolation;
    const std::string_view shared = host_namespace(record.config());
    const IsolationChoice choice = named.value_or(options_.isolation);
    if (shared.empty() || choice == IsolationChoice::Process) {
        return choice;
    }
    if (!named && options_.serves_host_namespaces) {
        return IsolationChoice::Process;
    }
    return Error(Code::Unsupported, "linux.security_context.namespace_options." +
                                        std::string(shared) +
                                        ": a microVM cannot be in a namespace of the host (NODE)");
}

std::string RuntimeService::cgroup(const Pod& pod, IsolationChoice isolation) {
    const v1::LinuxPodSandboxConfig& config = pod.record.config().linux();
    return isolation == IsolationChoice::Process
               ? config.cgroup_parent() + "/pepita-" + pod.record.id()
               : microvm_cgroup(config, pod.record.id());
}

Result<PodSpec> RuntimeService::pod_spec(const Pod& pod) const {
    const v1::PodSandboxConfig& config = pod.record.config();
    PodSpec spec;
    spec.name = pod.record.id();
    spec.root = options_.root;
    spec.data = options_.data;
    spec.vmm = options_.vmm;
    spec.qemu = options_.qemu;
    spec.isolation = TRY(isolation(pod.record));
    spec.scratch_mib = options_.scratch_mib;
    spec.log_format = options_.log_format;
    spec.boot_deadline = options_.boot_deadline;
    spec.end = runtime::PodEnd::WhenStopped;
    spec.packs_roots = true;
    spec.network_namespace = namespace_path(pod);
    spec.cgroup = cgroup(pod, spec.isolation);
    spec.memory_mib = options_.memory_mib;
    spec.vcpus = options_.vcpus;
    spec.memory_max_mib = options_.memory_max_mib;
    spec.vcpus_max = options_.vcpus_max;
    const v1::LinuxContainerResources& limits = config.linux().resources();
    if (limits.memory_limit_in_bytes() > 0) {
        const auto bytes = static_cast<std::uint64_t>(limits.memory_limit_in_bytes());
        spec.memory_mib = std::clamp((bytes + kMebibyte - 1) / kMebibyte, PodSpec::kMemoryMibMin,
                                     PodSpec::kMemoryMibMax);
        spec.is_sized = true;
    }
    if (limits.cpu_quota() > 0 && limits.cpu_period() > 0) {
        const std::int64_t cpus =
            (limits.cpu_quota() + limits.cpu_period() - 1) / limits.cpu_period();
        spec.vcpus =
            std::clamp(static_cast<std::uint64_t>(cpus), PodSpec::kVcpusMin, PodSpec::kVcpusMax);
    }
    TRY(check(spec));
    return spec;
}

CniAttachment RuntimeService::attachment(const Pod& pod) const {
    const v1::PodSandboxConfig& config = pod.record.config();
    CniAttachment attachment;
    attachment.container_id = pod.record.id();
    attachment.netns = namespace_path(pod);
    attachment.args = kubernetes_args(config.metadata().namespace_(), config.metadata().name(),
                                      config.metadata().uid(), pod.record.id());
    attachment.capabilities.port_mappings =
        port_mappings(config).value_or(std::vector<CniPortMapping>());
    attachment.capabilities.dns.name_servers.assign(config.dns_config().servers().begin(),
                                                    config.dns_config().servers().end());
    attachment.capabilities.dns.search.assign(config.dns_config().searches().begin(),
                                              config.dns_config().searches().end());
    attachment.capabilities.dns.options.assign(config.dns_config().options().begin(),
                                               config.dns_config().options().end());
    attachment.capabilities.cgroup_path = config.linux().cgroup_parent();
    attachment.capabilities.pod_annotations = {config.annotations().begin(),
                                               config.annotations().end()};
    return attachment;
}

Result<RuntimeService::PodRef> RuntimeService::admit(const v1::RunPodSandboxRequest& request) {
    const v1::PodSandboxConfig& config = request.config();
    TRY(check_config(config));
    TRY(handler(request.runtime_handler()));
    TRY(port_mappings(config));
    for (const auto& [id, other] : pods_) {
        if (is_same(other->record.config().metadata(), config.metadata())) {
            return Error(Code::AlreadyExists, "config.metadata: pod '" + id +
                                                  "' has this name, "
                                                  "namespace, uid and attempt already");
        }
    }
    auto pod = std::make_shared<Pod>();
    pod->record.set_id(random_id());
    *pod->record.mutable_config() = config;
    pod->record.set_runtime_handler(request.runtime_handler());
    pod->record.set_created_at_ns(now_ns());
    pod->record.set_is_on_host(TRY(pod_spec(*pod)).isolation == IsolationChoice::Process);
    TRY(resolv_conf(config.dns_config()));
    pods_[pod->record.id()] = pod;
    return pod;
}

Result<void> RuntimeService::make_place(const Pod& pod) const {
    TRY(make_directories(place(pod)));
    if (const std::string& logs = pod.record.config().log_directory(); !logs.empty()) {
        TRY(make_directories(logs));
    }
    return shares_network(pod) ? Result<void>() : make_network_namespace(namespace_path(pod));
}

Result<void> RuntimeService::write_network_files(const Pod& pod) const {
    const v1::PodSandboxConfig& config = pod.record.config();
    const std::string name = host_name(config);
    std::string hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    for (const std::string& address : pod.record.ips()) {
        hosts.append(address).append("\t").append(name).append("\n");
    }
    const Owner owner = owner_of(config);
    TRY(write_for(owner, place(pod) + "/hosts", hosts));
    TRY(write_for(owner, place(pod) + "/hostname", name + "\n"));
    return write_for(owner, place(pod) + "/resolv.conf", TRY(resolv_conf(config.dns_config())));
}

void RuntimeService::run_pod_sandbox(const v1::RunPodSandboxRequest& request,
                                     Done<v1::RunPodSandboxResponse> done) {
    Result<PodRef> admitted = admit(request);
    if (!admitted) {
        return done(std::move(admitted).error());
    }
    const PodRef& pod = *admitted;
    save(*pod);
    if (Result<void> made = make_place(*pod); !made) {
        return end_start(pod, std::move(made), std::move(done));
    }
    if (shares_network(*pod)) {
        return start_shim(pod, std::move(done));
    }
    pod->record.set_is_attached(true);  // some of it may be, from here on
    save(*pod);
    cni_.add(attachment(*pod), [this, pod, is_here = is_here_,
                                done = std::move(done)](Result<CniResult> attached) mutable {
        if (!*is_here) {
            return;
        }
        if (!attached) {
            return end_start(pod, std::move(attached).error().within("pod network"),
                             std::move(done));
        }
        for (const CniAddress& address : attached->ips) {
            pod->record.add_ips(without_prefix_length(address.address));
        }
        start_shim(pod, std::move(done));
    });
}

void RuntimeService::start_shim(const PodRef& pod, Done<v1::RunPodSandboxResponse> done) {
    const auto begin = [&]() -> Result<PodSpec> {
        TRY(write_network_files(*pod));
        pod->shim = TRY(PodShim::start(
            loop_, options_.shim, reaper_,
            [this, id = pod->record.id()](const Error& error) { on_shim_closed(id, error); }));
        return pod_spec(*pod);
    };
    Result<PodSpec> spec = begin();
    if (!spec) {
        return end_start(pod, std::move(spec).error(), std::move(done));
    }
    pod->shim->sandbox().create(*spec, while_here<void>([](const Result<void>& /*starts*/) {}));
    pod->shim->sandbox().start(
        pod->record.id(),
        while_here<runtime::SandboxStarted>(
            [this, pod, begun = std::chrono::steady_clock::now(),
             done = std::move(done)](Result<runtime::SandboxStarted> started) mutable {
                if (started && metrics_ != nullptr) {
                    metrics_->observe_boot(std::chrono::steady_clock::now() - begun);
                }
                end_start(pod, started ? Result<void>() : std::move(started).error().within("boot"),
                          std::move(done));
            }));
}

void RuntimeService::end_start(const PodRef& pod, Result<void> started,
                               Done<v1::RunPodSandboxResponse> done) {
    if (started && !pod->shim) {
        started = Error(Code::Unavailable, "the pod's shim has gone");
    }
    if (!started) {
        log::warn("a pod cannot start", {{"pod", pod->record.id()},
                                         {"name", pod->record.config().metadata().name()},
                                         {"error", started.error().message()}});
        return take_down(
            pod,
            while_here<void>([this, pod, done = std::move(done), why = std::move(started).error()](
                                 const Result<void>& /*is_down*/) mutable {
                erase(pod);
                done(std::move(why).within("pod '" + pod->record.config().metadata().name() + "'"));
            }));
    }
    pod->record.set_is_made(true);
    pod->record.set_is_ready(true);
    save(*pod);
    watch_sandbox(pod);
    log::info("pod is ready",
              {{"pod", pod->record.id()}, {"name", pod->record.config().metadata().name()}});
    v1::RunPodSandboxResponse response;
    response.set_pod_sandbox_id(pod->record.id());
    done(std::move(response));
}

void RuntimeService::watch_sandbox(const PodRef& pod) {
    pod->shim->sandbox().wait(
        pod->record.id(),
        while_here<runtime::TaskExit>([this, pod](const Result<runtime::TaskExit>& exit) {
            if (exit) {
                on_pod_down(pod, "its microVM has ended");
            }
        }));
}

void RuntimeService::on_shim_closed(const std::string& id, const Error& error) {
    const auto found = pods_.find(id);
    if (found == pods_.end()) {
        return;
    }
    const PodRef pod = found->second;
    // Not in its own call.
    loop_.post([gone = std::shared_ptr<PodShim>(std::move(pod->shim))] {});
    if (!pod->is_stopping) {
        log::warn("a pod's shim has gone", {{"pod", id}, {"error", error.message()}});
    }
    on_pod_down(pod, "its shim has gone");
}

void RuntimeService::on_pod_down(const PodRef& pod, const std::string& why) {
    if (!pod->record.is_ready()) {
        return;
    }
    pod->record.set_is_ready(false);
    save(*pod);
    if (!pod->shim) {
        for (const auto& [id, container] : std::map(pod->containers)) {
            lose(container, "the pod has ended: " + why);
        }
    }
}

void RuntimeService::take_down(const PodRef& pod, OnResult<void> done) {
    const auto detach = [this, pod](OnResult<void> then) {
        if (!pod->record.is_attached()) {
            return then({});
        }
        cni_.remove(attachment(*pod),
                    [is_here = is_here_, then = std::move(then)](Result<void> removed) mutable {
                        if (*is_here) {
                            then(std::move(removed));
                        }
                    });
    };
    auto finish = [this, pod, detach, done = std::move(done)](Result<void> ended) mutable {
        // Nobody else has anything to remove where the shim answered.
        if (Result<void> swept = ended ? Result<void>() : sweep(*pod); !swept) {
            return done(std::move(swept));
        }
        detach([this, pod, done = std::move(done)](Result<void> detached) mutable {
            if (detached && !shares_network(*pod)) {
                pod->record.set_is_attached(false);
                detached = remove_network_namespace(namespace_path(*pod));
            }
            done(std::move(detached));
        });
    };
    if (!pod->shim) {
        return finish(Error(Code::Unavailable, "its shim has gone"));
    }
    // It answers when nothing of the pod is left, and ends then.
    pod->shim->sandbox().shutdown(
        pod->record.id(),
        while_here<void>([this, pod, finish = std::move(finish)](Result<void> ended) mutable {
            if (pod->shim) {
                loop_.post([gone = std::shared_ptr<PodShim>(std::move(pod->shim))] {});
            }
            finish(std::move(ended));
        }));
}

Result<void> RuntimeService::sweep(const Pod& pod) const {
    const std::string& id = pod.record.id();
    TRY(TRY(runtime::oci::ContainerStore::open(options_.root)).remove_pod(id));
    const Result<IsolationChoice> chosen = isolation(pod.record);
    const std::string place = chosen ? cgroup(pod, *chosen) : "";
    return place.empty() ? Result<void>() : runtime::PodCgroup::remove(place);
}

void RuntimeService::stop_pod(const PodRef& pod, OnResult<void> done) {
    pod->on_stopped.push_back(std::move(done));
    if (pod->is_stopping) {
        return;
    }
    pod->is_stopping = true;
    const auto end = [this, pod](const Result<void>& stopped) { end_stop(pod, stopped); };
    if (!pod->shim) {
        return take_down(pod, end);
    }
    // Its containers' waiters are answered before that.
    pod->shim->sandbox().stop(
        pod->record.id(), kStopPatience,
        while_here<void>([this, pod, end](const Result<void>& stopped) {
            if (!stopped) {
                log::warn("a pod is ended by force",
                          {{"pod", pod->record.id()}, {"error", stopped.error().message()}});
            }
            take_down(pod, end);
        }));
}

void RuntimeService::end_stop(const PodRef& pod, const Result<void>& stopped) {
    pod->is_stopping = false;
    if (stopped) {
        pod->record.set_is_ready(false);
        constexpr std::int32_t killed = 128 + SIGKILL;
        // Who waits for an end may remove the container.
        for (const auto& [id, container] : std::map(pod->containers)) {
            if (container->record.state() == v1::CONTAINER_RUNNING) {
                set_exited(container, killed, now_ns(), "Error", "the pod was stopped");
            }
        }
    }
    save(*pod);
    for (auto& waiter : std::exchange(pod->on_stopped, {})) {
        waiter(stopped ? Result<void>() : copy_of(stopped.error()));
    }
}

void RuntimeService::stop_pod_sandbox(const v1::StopPodSandboxRequest& request,
                                      Done<v1::StopPodSandboxResponse> done) {
    const Result<PodRef> pod = find_pod(request.pod_sandbox_id());
    if (!pod) {
        return done(v1::StopPodSandboxResponse());
    }
    stop_pod(*pod, [done = std::move(done)](Result<void> stopped) mutable {
        if (!stopped) {
            return done(std::move(stopped).error());
        }
        done(v1::StopPodSandboxResponse());
    });
}

void RuntimeService::erase(const PodRef& pod) {
    for (const auto& [id, container] : std::exchange(pod->containers, {})) {
        forget(container);
    }
    std::error_code failed;
    std::filesystem::remove_all(place(*pod), failed);
    if (failed) {
        log::warn(
            "a pod's files stay",
            {{"pod", pod->record.id()}, {"directory", place(*pod)}, {"error", failed.message()}});
    }
    if (const Result<void> removed = pod_records_.remove(pod->record.id()); !removed) {
        log::warn("a pod's record stays",
                  {{"pod", pod->record.id()}, {"error", removed.error().message()}});
    }
    log::info("pod is removed", {{"pod", pod->record.id()}});
    pods_.erase(pod->record.id());
}

void RuntimeService::remove_pod_sandbox(const v1::RemovePodSandboxRequest& request,
                                        Done<v1::RemovePodSandboxResponse> done) {
    const Result<PodRef> found = find_pod(request.pod_sandbox_id());
    if (!found) {
        return done(v1::RemovePodSandboxResponse());
    }
    stop_pod(*found, [this, pod = *found, done = std::move(done)](Result<void> stopped) mutable {
        if (!stopped) {
            return done(std::move(stopped).error());
        }
        if (pods_.contains(pod->record.id())) {
            erase(pod);
        }
        done(v1::RemovePodSandboxResponse());
    });
}

v1::PodSandboxStatus RuntimeService::status_of(const Pod& pod) const {
    const v1::PodSandboxConfig& config = pod.record.config();
    v1::PodSandboxStatus status;
    status.set_id(pod.record.id());
    *status.mutable_metadata() = config.metadata();
    status.set_state(pod.record.is_ready() ? v1::SANDBOX_READY : v1::SANDBOX_NOTREADY);
    status.set_created_at(pod.record.created_at_ns());
    if (!pod.record.ips().empty() && pod.record.is_ready()) {
        status.mutable_network()->set_ip(pod.record.ips(0));
        for (int index = 1; index < pod.record.ips_size(); ++index) {
            status.mutable_network()->add_additional_ips()->set_ip(pod.record.ips(index));
        }
    }
    *status.mutable_linux()->mutable_namespaces()->mutable_options() =
        config.linux().security_context().namespace_options();
    *status.mutable_labels() = config.labels();
    *status.mutable_annotations() = config.annotations();
    status.set_runtime_handler(pod.record.runtime_handler());
    return status;
}

void RuntimeService::pod_sandbox_status(const v1::PodSandboxStatusRequest& request,
                                        Done<v1::PodSandboxStatusResponse> done) {
    Result<PodRef> found = find_pod(request.pod_sandbox_id());
    if (!found) {
        return done(std::move(found).error());
    }
    const PodRef& pod = *found;
    v1::PodSandboxStatusResponse response;
    *response.mutable_status() = status_of(*pod);
    for (const auto& [id, container] : pod->containers) {
        *response.add_containers_statuses() = status_of(*container);
    }
    response.set_timestamp(now_ns());
    if (!request.verbose() || !pod->shim) {
        return done(std::move(response));
    }
    pod->shim->sandbox().status(pod->record.id(),
                                while_here<runtime::SandboxStatus>(
                                    [response = std::move(response), done = std::move(done)](
                                        const Result<runtime::SandboxStatus>& sandbox) mutable {
                                        if (sandbox) {
                                            for (const auto& [key, value] : sandbox->info) {
                                                (*response.mutable_info())[key] = in_json(value);
                                            }
                                            (*response.mutable_info())["pid"] =
                                                std::to_string(sandbox->pid);
                                        }
                                        done(std::move(response));
                                    }));
}

void RuntimeService::list_pod_sandbox(const v1::ListPodSandboxRequest& request,
                                      Done<v1::ListPodSandboxResponse> done) {
    v1::ListPodSandboxResponse response;
    for (const auto& [id, pod] : pods_) {
        const v1::PodSandboxConfig& config = pod->record.config();
        const v1::PodSandboxState state =
            pod->record.is_ready() ? v1::SANDBOX_READY : v1::SANDBOX_NOTREADY;
        if (!pod->record.is_made() || !has_id(id, request.filter().id()) ||
            (request.filter().has_state() && request.filter().state().state() != state) ||
            !has_labels(config.labels(), request.filter().label_selector())) {
            continue;
        }
        v1::PodSandbox& item = *response.add_items();
        item.set_id(id);
        *item.mutable_metadata() = config.metadata();
        item.set_state(state);
        item.set_created_at(pod->record.created_at_ns());
        *item.mutable_labels() = config.labels();
        *item.mutable_annotations() = config.annotations();
        item.set_runtime_handler(pod->record.runtime_handler());
    }
    done(std::move(response));
}

void RuntimeService::update_pod_sandbox_resources(
    const v1::UpdatePodSandboxResourcesRequest& request,
    Done<v1::UpdatePodSandboxResourcesResponse> done) {
    Result<PodRef> pod = find_pod(request.pod_sandbox_id());
    if (!pod) {
        return done(std::move(pod).error());
    }
    const auto keep = [this, pod = *pod,
                       request](Done<v1::UpdatePodSandboxResourcesResponse> kept) {
        v1::LinuxPodSandboxConfig& linux = *pod->record.mutable_config()->mutable_linux();
        if (request.has_resources()) {
            *linux.mutable_resources() = request.resources();
        }
        if (request.has_overhead()) {
            *linux.mutable_overhead() = request.overhead();
        }
        save(*pod);
        kept(v1::UpdatePodSandboxResourcesResponse());
    };
    if (!request.has_resources() || !(*pod)->shim) {
        return keep(std::move(done));
    }
    (*pod)->shim->tasks().update(
        "", oci_resources_json(request.resources()),
        while_here<void>([keep, done = std::move(done)](Result<void> updated) mutable {
            if (!updated) {
                return done(std::move(updated).error());
            }
            keep(std::move(done));
        }));
}

}  // namespace pepita::cri
