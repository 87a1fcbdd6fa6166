#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "cri/directories.h"
#include "cri/identity.h"
#include "cri/image_service.h"
#include "cri/resources.h"
#include "cri/runtime_service.h"
#include "cri/selectors.h"
#include "cri/spec/mounts.h"
#include "cri/stop_signal.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_api.h"
#include "runtime/task_api.h"
#include "storage/digest.h"
#include "storage/image_store.h"

// Containers: CreateContainer to RemoveContainer.

namespace pepita::cri {
namespace {

using runtime::ProcessId;
using runtime::TaskExit;

ProcessId own_process(const ContainerRecord& record) {
    return {.container = record.id(), .exec = ""};
}

Result<void> check_config(const v1::ContainerConfig& config) {
    if (config.metadata().name().empty()) {
        return Error(Code::InvalidArgument, "config.metadata.name: must not be empty");
    }
    if (config.image().image().empty()) {
        return Error(Code::InvalidArgument, "config.image.image: must not be empty");
    }
    if (config.log_path().starts_with('/')) {
        return Error(Code::InvalidArgument,
                     "config.log_path: must be below the pod's log_directory");
    }
    for (const auto& part : std::filesystem::path(config.log_path())) {
        if (part == "..") {
            return Error(Code::InvalidArgument, "config.log_path: must not have '..' in it");
        }
    }
    return {};
}

Result<void> find_mounted_images(storage::ImageStore& images, v1::ContainerConfig& config) {
    for (v1::Mount& mount : *config.mutable_mounts()) {
        if (!mount.has_image()) {
            continue;
        }
        const std::string& name = mount.image().image();
        const auto image = TRY(find_image(images, name));
        if (!image) {
            return Error(Code::NotFound,
                         "ImageVolumeMountFailed: config.mounts: image '" + name + "' is not here");
        }
        mount.mutable_image()->set_image_ref(image->id.text());
    }
    return {};
}

/// Where the mounts of the host begin: as the kubelet means them, which makes what is missing.
Result<void> resolve_mounts(v1::ContainerConfig& config) {
    for (v1::Mount& mount : *config.mutable_mounts()) {
        if (mount.host_path().empty()) {
            continue;
        }
        std::error_code failed;
        if (!std::filesystem::exists(mount.host_path(), failed)) {
            std::filesystem::create_directories(mount.host_path(), failed);
        }
        if (!failed) {
            mount.set_host_path(std::filesystem::canonical(mount.host_path(), failed).string());
        }
        if (failed) {
            return Error::from_errno(failed.value(),
                                     "config.mounts: host_path '" + mount.host_path() + "'");
        }
    }
    return {};
}

/// The kubelet looks for its own word where an image could not be mounted.
Error refusal_of(const v1::ContainerConfig& config, Error error) {
    for (const v1::Mount& mount : config.mounts()) {
        if (mount.has_image() &&
            error.message().contains("mount '" + normal_path(mount.container_path()) + "'")) {
            error = std::move(error).within("ImageVolumeMountFailed");
            break;
        }
    }
    return std::move(error).within("container '" + config.metadata().name() + "'");
}

Result<std::string> first_line(const std::string& path) {
    const std::string text = TRY(read_file(path));
    return text.substr(0, text.find('\n'));
}

/// Of a node that has not all, nobody can have all.
std::uint64_t own_capabilities() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    if (::syscall(SYS_capget, &header, sets.data()) != 0) {
        return 0;
    }
    constexpr unsigned word = 32;
    return std::uint64_t{sets[1].permitted} << word | sets[0].permitted;
}

runtime::TaskIo container_io(const ContainerRecord& record) {
    const v1::ContainerConfig& config = record.config();
    runtime::TaskIo io;
    io.terminal = config.tty() ? runtime::Terminal::Yes : runtime::Terminal::No;
    if (config.stdin()) {
        io.in.path = config.stdin_once() ? runtime::kKeptStreamOnce : runtime::kKeptStream;
    }
    // Without a log, the streams are kept for who attaches.
    io.out.path =
        record.log_path().empty() ? runtime::kKeptStream : runtime::kLogPrefix + record.log_path();
    if (!config.tty()) {
        io.err.path = io.out.path;
    }
    return io;
}

}  // namespace

Result<RuntimeService::ContainerRef> RuntimeService::admit(
    const Pod& pod, const v1::CreateContainerRequest& request) {
    TRY(check_config(request.config()));
    const v1::ContainerMetadata& metadata = request.config().metadata();
    for (const auto& [id, other] : pod.containers) {
        const v1::ContainerMetadata& taken = other->record.config().metadata();
        if (taken.name() == metadata.name() && taken.attempt() == metadata.attempt()) {
            return Error(Code::AlreadyExists, "config.metadata: container '" + id +
                                                  "' of the pod has this name and attempt already");
        }
    }
    auto container = std::make_shared<Container>();
    container->record.set_id(random_id());
    container->record.set_pod_id(pod.record.id());
    *container->record.mutable_config() = request.config();
    container->record.set_created_at_ns(now_ns());
    container->record.set_state(v1::CONTAINER_UNKNOWN);
    if (!request.config().log_path().empty() && !pod.record.config().log_directory().empty()) {
        container->record.set_log_path(pod.record.config().log_directory() + "/" +
                                       request.config().log_path());
    }
    return container;
}

Result<void> RuntimeService::make_bundle(const Pod& pod, Container& container,
                                         const v1::PodSandboxConfig& config) const {
    const std::string& name = container.record.config().image().image();
    const storage::Digest id = TRY(storage::parse_digest(container.record.image_id()));
    const storage::OpenImage image = TRY(images_.use(id));
    const ImageConfig image_config = TRY(parse_image_config(image.config), "image '", name, "'");
    container.record.set_stop_signal(
        static_cast<std::uint32_t>(TRY(stop_signal_of(container.record.config(), image_config))));
    TRY(find_mounted_images(images_, *container.record.mutable_config()));
    v1::ContainerConfig resolved = container.record.config();
    TRY(resolve_mounts(resolved));
    const std::string files = place(pod);
    const ContainerPlace where{
        .pod_id = pod.record.id(),
        .container_id = container.record.id(),
        .network_namespace = namespace_path(pod),
        .hostname = TRY(first_line(files + "/hostname")),
        .resolv_conf = files + "/resolv.conf",
        .hosts = files + "/hosts",
        .hostname_file = files + "/hostname",
        .cgroups_path = "",
        .default_seccomp = options_.seccomp,
        .capabilities = pod.record.is_on_host() ? own_capabilities() : ~std::uint64_t{0},
        .is_on_host = pod.record.is_on_host()};
    const std::string text = TRY(oci_config(config, resolved, image_config, where));
    TRY(make_directories(bundle(container) + "/rootfs"));
    constexpr mode_t mode = 0600;
    return replace_file(FdRef(AT_FDCWD), bundle(container) + "/config.json", text, mode);
}

void RuntimeService::create_container(const v1::CreateContainerRequest& request,
                                      Done<v1::CreateContainerResponse> done) {
    const auto begin = [&]() -> Result<ContainerRef> {
        const PodRef pod = TRY(find_pod(request.pod_sandbox_id()));
        if (!pod->record.is_ready() || !pod->shim || pod->is_stopping) {
            return Error(Code::FailedPrecondition, "pod '" + pod->record.id() + "' is not ready");
        }
        ContainerRef container = TRY(admit(*pod, request));
        const std::string& name = request.config().image().image();
        const auto image = TRY(find_image(images_, name));
        if (!image) {
            return Error(Code::NotFound, "config.image: image '" + name + "' is not here");
        }
        container->record.set_image_id(image->id.text());
        container->pod = pod.get();
        Result<void> made = make_bundle(
            *pod, *container,
            request.has_sandbox_config() ? request.sandbox_config() : pod->record.config());
        if (!made) {
            forget(container);
            return std::move(made).error();
        }
        pod->containers[container->record.id()] = container;
        containers_[container->record.id()] = container;
        return container;
    };
    Result<ContainerRef> begun = begin();
    if (!begun) {
        return done(std::move(begun).error());
    }
    const ContainerRef& container = *begun;
    runtime::TaskCreate create;
    create.id = container->record.id();
    create.bundle = bundle(*container);
    create.image = runtime::ImageRoot{.store = options_.images, .id = container->record.image_id()};
    create.io = container_io(container->record);
    container->pod->shim->tasks().create(
        std::move(create),
        while_here<std::uint32_t>([this, container, pod = pod_of(*container),
                                   done = std::move(done)](Result<std::uint32_t> created) mutable {
            if (!created) {
                forget(container);
                return done(refusal_of(container->record.config(), std::move(created).error()));
            }
            look_up_user(container, [this, container, done = std::move(done)]() mutable {
                container->record.set_state(v1::CONTAINER_CREATED);
                save(*container);
                tell(*container, v1::CONTAINER_CREATED_EVENT);
                v1::CreateContainerResponse response;
                response.set_container_id(container->record.id());
                done(std::move(response));
            });
        }));
}

void RuntimeService::look_up_user(const ContainerRef& container,
                                  std::move_only_function<void()> done) {
    if (!container->pod->shim) {
        return done();
    }
    container->pod->shim->pod().user(
        container->record.id(),
        while_here<runtime::UserIds>([container, pod = pod_of(*container), done = std::move(done)](
                                         const Result<runtime::UserIds>& user) mutable {
            // A shim that was started by an older server may not know.
            if (user) {
                v1::LinuxContainerUser& out = *container->record.mutable_user();
                out.set_uid(user->uid);
                out.set_gid(user->gid);
                out.mutable_supplemental_groups()->Add(user->groups.begin(), user->groups.end());
            }
            done();
        }));
}

void RuntimeService::start_container(const v1::StartContainerRequest& request,
                                     Done<v1::StartContainerResponse> done) {
    Result<ContainerRef> found = find_container(request.container_id());
    if (!found) {
        return done(std::move(found).error());
    }
    const ContainerRef& container = *found;
    if (container->record.state() != v1::CONTAINER_CREATED || container->is_starting ||
        container->is_removing || !container->pod->shim) {
        return done(Error(Code::FailedPrecondition, "container '" + container->record.id() +
                                                        "' is not one that waits for its start"));
    }
    container->is_starting = true;
    container->record.set_started_at_ns(now_ns());  // it may end before we hear that it began
    container->pod->shim->tasks().start(
        own_process(container->record),
        while_here<runtime::TaskStarted>(
            [this, container, pod = pod_of(*container),
             done = std::move(done)](Result<runtime::TaskStarted> started) mutable {
                container->is_starting = false;
                if (started && started->exec_errno != 0) {
                    started = Error::from_errno(static_cast<int>(started->exec_errno), "execve");
                }
                if (!started) {
                    constexpr std::int32_t cannot_start = 128;
                    set_exited(container, cannot_start, now_ns(), "StartError",
                               started.error().message());
                    return done(std::move(started).error().within(
                        "container '" + container->record.config().metadata().name() + "'"));
                }
                container->record.set_started_at_ns(now_ns());
                container->record.set_state(v1::CONTAINER_RUNNING);
                save(*container);
                watch_exit(container);
                tell(*container, v1::CONTAINER_STARTED_EVENT);
                log::info("container is started",
                          {{"pod", container->record.pod_id()},
                           {"container", container->record.id()},
                           {"name", container->record.config().metadata().name()}});
                done(v1::StartContainerResponse());
            }));
}

// Its cgroup, which counts OOM kills, is there until it is removed.
void RuntimeService::watch_exit(const ContainerRef& container) {
    if (!container->pod->shim) {
        return;
    }
    container->pod->shim->tasks().wait(
        own_process(container->record),
        while_here<TaskExit>([this, container, pod = pod_of(*container)](Result<TaskExit> exit) {
            if (!exit && exit.error().code() == Code::Aborted) {
                return lose(container, exit.error().message());  // with its microVM
            }
            if (!exit || !pod->shim) {
                return;  // the pod's end says it
            }
            pod->shim->tasks().stats(
                container->record.id(),
                while_here<runtime::ContainerStats>(
                    [this, container, pod,
                     exit = *exit](const Result<runtime::ContainerStats>& stats) {
                        end_exit(container, exit, stats && stats->oom_kills != 0);
                    }));
        }));
}

// One whose end nobody saw. A pod that is being stopped says of its containers that they were.
void RuntimeService::lose(const ContainerRef& container, std::string why) {
    constexpr std::int32_t lost = 255;
    if (container->record.state() == v1::CONTAINER_RUNNING && !pod_of(*container)->is_stopping) {
        set_exited(container, lost, now_ns(), "Error", std::move(why));
    }
}

void RuntimeService::end_exit(const ContainerRef& container, const TaskExit& exit, bool is_oom) {
    constexpr std::uint32_t killed = 128 + SIGKILL;
    const bool is_oom_killed = is_oom && exit.exit_status == killed;
    set_exited(container, static_cast<std::int32_t>(exit.exit_status),
               exit.exited_at_ns == 0 ? now_ns() : exit.exited_at_ns,
               is_oom_killed           ? "OOMKilled"
               : exit.exit_status == 0 ? "Completed"
                                       : "Error",
               "");
}

void RuntimeService::set_exited(const ContainerRef& container, std::int32_t code,
                                std::int64_t at_ns, std::string reason, std::string message) {
    if (container->record.state() == v1::CONTAINER_EXITED) {
        return;
    }
    container->patience.cancel();
    container->record.set_state(v1::CONTAINER_EXITED);
    container->record.set_exit_code(code);
    container->record.set_finished_at_ns(at_ns);
    container->record.set_reason(std::move(reason));
    container->record.set_message(std::move(message));
    save(*container);
    tell(*container, v1::CONTAINER_STOPPED_EVENT);
    log::info("container has ended", {{"pod", container->record.pod_id()},
                                      {"container", container->record.id()},
                                      {"code", container->record.exit_code()},
                                      {"reason", container->record.reason()}});
    for (auto& waiter : std::exchange(container->on_exit, {})) {
        waiter();
    }
}

void RuntimeService::signal(const ContainerRef& container, std::uint32_t number, bool all) {
    if (!container->pod->shim) {
        return;
    }
    container->pod->shim->tasks().kill(
        own_process(container->record), number, all,
        while_here<void>([id = container->record.id()](const Result<void>& sent) {
            // One that is over meanwhile has no process.
            if (!sent && sent.error().code() != Code::NotFound &&
                sent.error().code() != Code::FailedPrecondition) {
                log::warn("a signal is lost",
                          {{"container", id}, {"error", sent.error().message()}});
            }
        }));
}

void RuntimeService::stop_container(const v1::StopContainerRequest& request,
                                    Done<v1::StopContainerResponse> done) {
    const Result<ContainerRef> found = find_container(request.container_id());
    if (!found || (*found)->record.state() != v1::CONTAINER_RUNNING) {
        return done(v1::StopContainerResponse());
    }
    const ContainerRef& container = *found;
    container->on_exit.emplace_back(
        [done = std::move(done)]() mutable { done(v1::StopContainerResponse()); });
    if (request.timeout() <= 0) {
        return signal(container, SIGKILL, true);
    }
    signal(container, container->record.stop_signal(), false);
    constexpr std::int64_t day_s = 86'400;
    container->patience = loop_.after(std::chrono::seconds(std::min(request.timeout(), day_s)),
                                      [this, container] { signal(container, SIGKILL, true); });
}

void RuntimeService::forget(const ContainerRef& container) {
    const std::string id = container->record.id();
    container->patience.cancel();
    std::error_code failed;
    std::filesystem::remove_all(bundle(*container), failed);
    if (failed) {
        log::warn("a container's files stay", {{"pod", container->record.pod_id()},
                                               {"container", id},
                                               {"directory", bundle(*container)},
                                               {"error", failed.message()}});
    }
    if (const Result<void> removed = container_records_.remove(id); !removed) {
        log::warn("a container's record stays", {{"pod", container->record.pod_id()},
                                                 {"container", id},
                                                 {"error", removed.error().message()}});
    }
    containers_.erase(id);
    if (container->pod != nullptr) {
        container->pod->containers.erase(id);
    }
}

void RuntimeService::remove_container(const v1::RemoveContainerRequest& request,
                                      Done<v1::RemoveContainerResponse> done) {
    const Result<ContainerRef> found = find_container(request.container_id());
    if (!found) {
        return done(v1::RemoveContainerResponse());
    }
    const ContainerRef& container = *found;
    auto end = [this, container, pod = pod_of(*container),
                done = std::move(done)](Result<TaskExit> removed) mutable {
        if (!removed && removed.error().code() != Code::NotFound && pod->shim) {
            return done(std::move(removed).error());
        }
        if (containers_.contains(container->record.id())) {
            tell(*container, v1::CONTAINER_DELETED_EVENT);
            forget(container);
        }
        done(v1::RemoveContainerResponse());
    };
    if (!container->pod->shim) {
        return end(TaskExit());
    }
    auto remove = [this, container, pod = pod_of(*container), end = std::move(end)]() mutable {
        if (!pod->shim) {
            return end(TaskExit());
        }
        pod->shim->tasks().remove(own_process(container->record),
                                  while_here<TaskExit>(std::move(end)));
    };
    if (container->record.state() == v1::CONTAINER_EXITED) {
        return remove();
    }
    if (container->record.state() == v1::CONTAINER_CREATED && !container->is_starting) {
        container->is_removing = true;
        watch_exit(container);
    }
    container->on_exit.emplace_back(std::move(remove));
    signal(container, SIGKILL, true);
}

v1::ContainerStatus RuntimeService::status_of(const Container& container) const {
    const ContainerRecord& record = container.record;
    const v1::ContainerConfig& config = record.config();
    v1::ContainerStatus status;
    status.set_id(record.id());
    *status.mutable_metadata() = config.metadata();
    status.set_state(record.state());
    status.set_created_at(record.created_at_ns());
    status.set_started_at(record.started_at_ns());
    status.set_finished_at(record.finished_at_ns());
    status.set_exit_code(record.exit_code());
    *status.mutable_image() = config.image();
    if (!config.image().user_specified_image().empty()) {
        status.mutable_image()->set_image(config.image().user_specified_image());
    }
    status.set_image_ref(record.image_id());
    status.set_image_id(record.image_id());
    status.set_reason(record.reason());
    status.set_message(record.message());
    *status.mutable_labels() = config.labels();
    *status.mutable_annotations() = config.annotations();
    *status.mutable_mounts() = config.mounts();
    status.set_log_path(record.log_path());
    if (config.linux().has_resources()) {
        *status.mutable_resources()->mutable_linux() = config.linux().resources();
    }
    status.set_stop_signal(to_signal(static_cast<int>(record.stop_signal())));
    if (record.has_user()) {
        *status.mutable_user()->mutable_linux() = record.user();
    }
    return status;
}

void RuntimeService::container_status(const v1::ContainerStatusRequest& request,
                                      Done<v1::ContainerStatusResponse> done) {
    Result<ContainerRef> container = find_container(request.container_id());
    if (!container) {
        return done(std::move(container).error());
    }
    v1::ContainerStatusResponse response;
    *response.mutable_status() = status_of(**container);
    if (request.verbose()) {
        (*response.mutable_info())["sandboxID"] = in_json((*container)->record.pod_id());
        (*response.mutable_info())["bundle"] = in_json(bundle(**container));
    }
    done(std::move(response));
}

void RuntimeService::list_containers(const v1::ListContainersRequest& request,
                                     Done<v1::ListContainersResponse> done) {
    v1::ListContainersResponse response;
    const v1::ContainerFilter& filter = request.filter();
    for (const auto& [id, container] : containers_) {
        const ContainerRecord& record = container->record;
        if (record.state() == v1::CONTAINER_UNKNOWN || !has_id(id, filter.id()) ||
            !has_id(record.pod_id(), filter.pod_sandbox_id()) ||
            (filter.has_state() && filter.state().state() != record.state()) ||
            !has_labels(record.config().labels(), filter.label_selector())) {
            continue;
        }
        v1::Container& item = *response.add_containers();
        item.set_id(id);
        item.set_pod_sandbox_id(record.pod_id());
        *item.mutable_metadata() = record.config().metadata();
        *item.mutable_image() = record.config().image();
        item.set_image_ref(record.image_id());
        item.set_image_id(record.image_id());
        item.set_state(record.state());
        item.set_created_at(record.created_at_ns());
        *item.mutable_labels() = record.config().labels();
        *item.mutable_annotations() = record.config().annotations();
    }
    done(std::move(response));
}

void RuntimeService::update_container_resources(const v1::UpdateContainerResourcesRequest& request,
                                                Done<v1::UpdateContainerResourcesResponse> done) {
    Result<ContainerRef> found = find_container(request.container_id());
    if (!found) {
        return done(std::move(found).error());
    }
    const ContainerRef& container = *found;
    if (container->record.state() == v1::CONTAINER_EXITED || !container->pod->shim) {
        return done(Error(Code::FailedPrecondition,
                          "container '" + container->record.id() + "' has ended"));
    }
    container->pod->shim->tasks().update(
        container->record.id(), oci_resources_json(request.linux()),
        while_here<void>([this, container, linux = request.linux(),
                          done = std::move(done)](Result<void> updated) mutable {
            if (!updated) {
                return done(std::move(updated).error());
            }
            container->record.mutable_config()->mutable_linux()->mutable_resources()->MergeFrom(
                linux);
            save(*container);
            done(v1::UpdateContainerResourcesResponse());
        }));
}

void RuntimeService::reopen_container_log(const v1::ReopenContainerLogRequest& request,
                                          Done<v1::ReopenContainerLogResponse> done) {
    Result<ContainerRef> container = find_running(request.container_id());
    if (!container) {
        return done(std::move(container).error());
    }
    (*container)
        ->pod->shim->pod()
        .reopen_log((*container)->record.id(),
                    while_here<void>([done = std::move(done)](Result<void> reopened) mutable {
                        if (!reopened) {
                            return done(std::move(reopened).error());
                        }
                        done(v1::ReopenContainerLogResponse());
                    }));
}

}  // namespace pepita::cri
