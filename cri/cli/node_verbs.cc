#include "cri/cli/node_verbs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/cli/doctor.h"
#include "cri/cli/node.h"
#include "cri/cli/node_command_line.h"
#include "cri/cli/top.h"
#include "cri/identity.h"
#include "cri/selectors.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri::cli {
namespace {

using runtime::oci::OrderedJson;

constexpr std::size_t kShortId = 12;

std::string age(std::int64_t since_ns) {
    const auto seconds = (now_ns() - since_ns) / 1'000'000'000;
    constexpr std::int64_t minute = 60;
    constexpr std::int64_t hour = 60 * minute;
    constexpr std::int64_t day = 24 * hour;
    return seconds < 2 * minute ? std::to_string(seconds) + " s"
           : seconds < 2 * hour ? std::to_string(seconds / minute) + " min"
           : seconds < 2 * day  ? std::to_string(seconds / hour) + " h"
                                : std::to_string(seconds / day) + " d";
}

std::string_view word(v1::ContainerState state) {
    return state == v1::CONTAINER_CREATED   ? "created"
           : state == v1::CONTAINER_RUNNING ? "running"
           : state == v1::CONTAINER_EXITED  ? "exited"
                                            : "unknown";
}

std::string_view word(v1::PodSandboxState state) {
    return state == v1::SANDBOX_READY ? "ready" : "not ready";
}

Result<int> print_pods(Node& node, const NodeCommand& command) {
    std::vector<Row> rows{{"POD", "NAMESPACE", "STATE", "AGE", "ID"}};
    for (const v1::PodSandbox& pod : TRY(node.pods())) {
        if (command.all || pod.state() == v1::SANDBOX_READY) {
            rows.push_back({pod.metadata().name(), pod.metadata().namespace_(),
                            std::string(word(pod.state())), age(pod.created_at()),
                            pod.id().substr(0, kShortId)});
        }
    }
    TRY(print(table(rows)));
    return 0;
}

Result<int> print_containers(Node& node, const NodeCommand& command) {
    const auto pods = TRY(node.pods());
    std::vector<Row> rows{{"CONTAINER", "POD", "IMAGE", "STATE", "AGE", "ID"}};
    for (const v1::Container& container : TRY(node.containers())) {
        if (!command.all && container.state() == v1::CONTAINER_EXITED) {
            continue;
        }
        const auto pod = std::ranges::find(pods, container.pod_sandbox_id(), &v1::PodSandbox::id);
        rows.push_back({container.metadata().name(),
                        pod == pods.end() ? "" : pod->metadata().name(), container.image().image(),
                        std::string(word(container.state())), age(container.created_at()),
                        container.id().substr(0, kShortId)});
    }
    TRY(print(table(rows)));
    return 0;
}

/// The pod of that name, which is made where there is none.
Result<v1::PodSandboxConfig> pod_config(const NodeCommand& command) {
    v1::PodSandboxConfig config;
    const std::string& name = command.words[0];
    config.mutable_metadata()->set_name(name);
    config.mutable_metadata()->set_namespace_("default");
    config.mutable_metadata()->set_uid(random_id());
    config.set_hostname(name);
    config.set_log_directory(command.logs + "/default_" + name + "_" + config.metadata().uid());
    for (const Published& port : command.published) {
        v1::PortMapping& mapping = *config.add_port_mappings();
        mapping.set_host_port(port.host);
        mapping.set_container_port(port.container);
    }
    return config;
}

Result<std::string> pod_for(Node& node, const NodeCommand& command) {
    const std::string& name = command.words[0];
    const auto found = TRY(Node::find(TRY(node.pods()), name));
    if (found && found->state() == v1::SANDBOX_READY) {
        if (!command.published.empty() || !command.handler.empty()) {
            return Error(Code::FailedPrecondition,
                         "the pod runs already: its ports and its handler are what they are");
        }
        return found->id();
    }
    if (found) {
        return Error(Code::FailedPrecondition, "the pod has ended; remove it first");
    }
    v1::RunPodSandboxRequest request;
    *request.mutable_config() = TRY(pod_config(command));
    request.set_runtime_handler(command.handler);
    return TRY(node.ask<v1::RunPodSandboxResponse>("RuntimeService/RunPodSandbox", request))
        .pod_sandbox_id();
}

Result<void> need_image(Node& node, const std::string& name) {
    v1::ImageStatusRequest status;
    status.mutable_image()->set_image(name);
    if (TRY(node.ask<v1::ImageStatusResponse>("ImageService/ImageStatus", status)).has_image()) {
        return {};
    }
    v1::PullImageRequest pull;
    pull.mutable_image()->set_image(name);
    TRY(node.ask<v1::PullImageResponse>("ImageService/PullImage", pull), "pull '", name, "'");
    return {};
}

/// "registry/a/busybox:1.2@sha256:…" is "busybox".
std::string last_word(std::string_view image) {
    image = image.substr(0, image.find('@'));
    image = image.substr(image.rfind('/') + 1);
    return std::string(image.substr(0, image.find(':')));
}

Result<int> run(Node& node, const NodeCommand& command) {
    const std::string& image = command.words[1];
    TRY(need_image(node, image));
    const std::string pod = TRY(pod_for(node, command));
    const std::string name = command.name.empty() ? last_word(image) : command.name;
    v1::CreateContainerRequest create;
    create.set_pod_sandbox_id(pod);
    v1::ContainerConfig& config = *create.mutable_config();
    config.mutable_metadata()->set_name(name);
    config.mutable_image()->set_image(image);
    config.mutable_args()->Assign(command.words.begin() + 2, command.words.end());
    config.set_log_path(name + ".log");
    v1::StartContainerRequest start;
    start.set_container_id(
        TRY(node.ask<v1::CreateContainerResponse>("RuntimeService/CreateContainer", create))
            .container_id());
    if (auto started = node.ask<v1::StartContainerResponse>("RuntimeService/StartContainer", start);
        !started) {
        v1::RemoveContainerRequest remove;
        remove.set_container_id(start.container_id());
        (void)node.ask<v1::RemoveContainerResponse>("RuntimeService/RemoveContainer", remove)
            .has_value();
        return std::move(started).error();
    }
    TRY(print(start.container_id() + "\n"));
    return 0;
}

Result<int> exec(Node& node, const NodeCommand& command) {
    v1::ExecSyncRequest request;
    request.set_container_id(TRY(node.container(command.words[0])).id());
    request.mutable_cmd()->Assign(command.words.begin() + 1, command.words.end());
    const auto done = TRY(node.ask<v1::ExecSyncResponse>("RuntimeService/ExecSync", request));
    TRY(print(done.stdout()));
    TRY(print(done.stderr(), STDERR_FILENO));
    return done.exit_code();
}

/// What a line of a log says, with its newline where it is a whole one.
/// "2026-11-30T10:00:00.123456789Z stdout F text"
std::string text_of(std::string_view line) {
    constexpr int words_before = 3;
    bool is_whole = true;
    for (int number = 0; number < words_before; ++number) {
        const std::size_t space = line.find(' ');
        if (space == std::string_view::npos) {
            return "";
        }
        is_whole = line.substr(0, space) != "P";
        line.remove_prefix(space + 1);
    }
    return std::string(line) + (is_whole ? "\n" : "");
}

Result<int> print_logs(Node& node, const NodeCommand& command) {
    v1::ContainerStatusRequest request;
    request.set_container_id(TRY(node.container(command.words[0])).id());
    const auto status =
        TRY(node.ask<v1::ContainerStatusResponse>("RuntimeService/ContainerStatus", request));
    const std::string& path = status.status().log_path();
    if (path.empty()) {
        return Error(Code::FailedPrecondition, "it has no log");
    }
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
    constexpr std::size_t chunk = std::size_t{64} << 10U;
    std::string rest;
    std::array<char, chunk> buffer{};
    for (;;) {
        const ssize_t size = ::read(file.ref().number(), buffer.data(), buffer.size());
        if (size < 0) {
            return Error::from_errno(errno, "read '" + path + "'");
        }
        if (size == 0) {
            return 0;
        }
        rest.append(buffer.data(), static_cast<std::size_t>(size));
        std::string text;
        std::size_t begin = 0;
        for (std::size_t end = rest.find('\n'); end != std::string::npos;
             end = rest.find('\n', begin)) {
            text += text_of(std::string_view(rest).substr(begin, end - begin));
            begin = end + 1;
        }
        rest.erase(0, begin);
        TRY(print(text));
    }
}

OrderedJson to_json(const Labels& labels) {
    OrderedJson json = OrderedJson::object();
    for (const auto& [key, value] : labels) {
        json[key] = value;
    }
    return json;
}

Result<int> inspect_container(Node& node, const v1::Container& container) {
    v1::ContainerStatusRequest request;
    request.set_container_id(container.id());
    const auto response =
        TRY(node.ask<v1::ContainerStatusResponse>("RuntimeService/ContainerStatus", request));
    const v1::ContainerStatus& status = response.status();
    OrderedJson json = OrderedJson::object();
    json["id"] = status.id();
    json["name"] = status.metadata().name();
    json["pod"] = container.pod_sandbox_id();
    json["state"] = std::string(word(status.state()));
    json["image"] = status.image().image();
    json["imageId"] = status.image_id();
    json["createdAt"] = status.created_at();
    json["startedAt"] = status.started_at();
    json["finishedAt"] = status.finished_at();
    json["exitCode"] = status.exit_code();
    json["reason"] = status.reason();
    json["message"] = status.message();
    json["logPath"] = status.log_path();
    json["labels"] = to_json(status.labels());
    TRY(print(runtime::oci::dump(json, 2) + "\n"));
    return 0;
}

Result<int> inspect(Node& node, const NodeCommand& command) {
    const std::string& name = command.words[0];
    const auto pod = TRY(Node::find(TRY(node.pods()), name));
    if (!pod) {
        const auto container = TRY(Node::find(TRY(node.containers()), name));
        if (!container) {
            return Error(Code::NotFound, "there is no such pod or container");
        }
        return inspect_container(node, *container);
    }
    v1::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id(pod->id());
    request.set_verbose(true);
    const auto response =
        TRY(node.ask<v1::PodSandboxStatusResponse>("RuntimeService/PodSandboxStatus", request));
    OrderedJson json = OrderedJson::object();
    json["id"] = pod->id();
    json["name"] = pod->metadata().name();
    json["namespace"] = pod->metadata().namespace_();
    json["state"] = std::string(word(pod->state()));
    json["createdAt"] = pod->created_at();
    json["ip"] = response.status().network().ip();
    json["handler"] = pod->runtime_handler();
    json["labels"] = to_json(pod->labels());
    for (const auto& [key, value] : response.info()) {
        json["info"][key] = value;
    }
    json["containers"] = OrderedJson::array();
    for (const v1::ContainerStatus& one : response.containers_statuses()) {
        json["containers"].push_back(one.metadata().name());
    }
    TRY(print(runtime::oci::dump(json, 2) + "\n"));
    return 0;
}

Result<void> stop_one(Node& node, const std::string& name) {
    if (const auto pod = TRY(Node::find(TRY(node.pods()), name))) {
        v1::StopPodSandboxRequest request;
        request.set_pod_sandbox_id(pod->id());
        TRY(node.ask<v1::StopPodSandboxResponse>("RuntimeService/StopPodSandbox", request));
        return {};
    }
    constexpr std::int64_t patience_s = 10;
    v1::StopContainerRequest request;
    request.set_container_id(TRY(node.container(name)).id());
    request.set_timeout(patience_s);
    TRY(node.ask<v1::StopContainerResponse>("RuntimeService/StopContainer", request));
    return {};
}

Result<void> remove_one(Node& node, const std::string& name) {
    if (const auto pod = TRY(Node::find(TRY(node.pods()), name))) {
        v1::RemovePodSandboxRequest request;
        request.set_pod_sandbox_id(pod->id());
        TRY(node.ask<v1::RemovePodSandboxResponse>("RuntimeService/RemovePodSandbox", request));
        return {};
    }
    v1::RemoveContainerRequest request;
    request.set_container_id(TRY(node.container(name)).id());
    TRY(node.ask<v1::RemoveContainerResponse>("RuntimeService/RemoveContainer", request));
    return {};
}

Result<int> each(Node& node, const NodeCommand& command,
                 Result<void> (*act)(Node&, const std::string&)) {
    for (const std::string& name : command.words) {
        TRY(act(node, name), "'", name, "'");
    }
    return 0;
}

}  // namespace

Result<int> perform(const NodeCommand& command) {
    Node node(command.socket);
    switch (command.verb) {
        case NodeVerb::Run:
            return run(node, command);
        case NodeVerb::Pods:
            return print_pods(node, command);
        case NodeVerb::Containers:
            return print_containers(node, command);
        case NodeVerb::Inspect:
            return inspect(node, command);
        case NodeVerb::Logs:
            return print_logs(node, command);
        case NodeVerb::Exec:
            return exec(node, command);
        case NodeVerb::Stop:
            return each(node, command, stop_one);
        case NodeVerb::Remove:
            return each(node, command, remove_one);
        case NodeVerb::Doctor:
            return doctor(command);
        case NodeVerb::Top:
            return top(node, command);
        case NodeVerb::None:
        case NodeVerb::Help:
        case NodeVerb::Version:
            break;
    }
    std::unreachable();
}

}  // namespace pepita::cri::cli
