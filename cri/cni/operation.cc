#include "cri/cni/operation.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/cni.h"
#include "cri/cni/network_config.h"
#include "cri/cni/plugin_process.h"
#include "cri/cni/result.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::Json;

Json to_json(const std::vector<std::string>& texts) {
    Json array = Json::array();
    for (const std::string& text : texts) {
        array.push_back(text);
    }
    return array;
}

Json to_json(const CniPortMapping& mapping) {
    Json json = Json::object();
    json.emplace("hostPort", mapping.host_port);
    json.emplace("containerPort", mapping.container_port);
    json.emplace("protocol", mapping.protocol);
    json.emplace("hostIP", mapping.host_ip);
    return json;
}

Json to_json(const CniBandwidth& bandwidth) {
    Json json = Json::object();
    json.emplace("ingressRate", bandwidth.ingress_rate);
    json.emplace("ingressBurst", bandwidth.ingress_burst);
    json.emplace("egressRate", bandwidth.egress_rate);
    json.emplace("egressBurst", bandwidth.egress_burst);
    return json;
}

Json to_json(const CniDns& dns) {
    Json json = Json::object();
    json.emplace("servers", to_json(dns.name_servers));
    json.emplace("searches", to_json(dns.search));
    json.emplace("options", to_json(dns.options));
    return json;
}

std::string joined(const std::vector<std::string>& texts, char separator) {
    std::string all;
    for (const std::string& text : texts) {
        all += (all.empty() ? "" : std::string(1, separator)) + text;
    }
    return all;
}

}  // namespace

Result<std::string> find_cni_program(const std::string& type,
                                     const std::vector<std::string>& directories) {
    for (const std::string& directory : directories) {
        std::string path = (directory + "/").append(type);
        if (::access(path.c_str(), X_OK) == 0) {
            return path;
        }
    }
    return Error(Code::FailedPrecondition,
                 "cni plugin '" + type + "': no such program in " + joined(directories, ':'));
}

std::string_view to_string(CniCommand command) {
    switch (command) {
        case CniCommand::Add:
            return "ADD";
        case CniCommand::Del:
            return "DEL";
        case CniCommand::Check:
            return "CHECK";
        case CniCommand::Gc:
            return "GC";
        case CniCommand::Status:
            return "STATUS";
    }
    std::unreachable();
}

// https://www.cni.dev/docs/conventions: well-known capabilities; the last two are containerd's.
Json to_runtime_config(const CniCapabilities& capabilities) {
    Json json = Json::object();
    if (!capabilities.port_mappings.empty()) {
        Json mappings = Json::array();
        for (const CniPortMapping& mapping : capabilities.port_mappings) {
            mappings.push_back(to_json(mapping));
        }
        json.emplace("portMappings", std::move(mappings));
    }
    if (capabilities.bandwidth) {
        json.emplace("bandwidth", to_json(*capabilities.bandwidth));
    }
    if (capabilities.dns != CniDns{}) {
        json.emplace("dns", to_json(capabilities.dns));
    }
    if (!capabilities.ips.empty()) {
        json.emplace("ips", to_json(capabilities.ips));
    }
    if (!capabilities.mac.empty()) {
        json.emplace("mac", capabilities.mac);
    }
    if (!capabilities.cgroup_path.empty()) {
        json.emplace("cgroupPath", capabilities.cgroup_path);
    }
    if (!capabilities.pod_annotations.empty()) {
        json.emplace("io.kubernetes.cri.pod-annotations", capabilities.pod_annotations);
    }
    return json;
}

// spec 1.1 §Deriving request configuration from network configuration
Json plugin_input(const CniNetwork& network, const CniPlugin& plugin, const Json& runtime_config,
                  const Json& previous) {
    Json input = plugin.config;
    for (const char* ours : {"cniVersions", "capabilities", "runtimeConfig", "prevResult",
                             "plugins", "disableCheck", "disableGC", "loadOnlyInlinedPlugins"}) {
        input.erase(ours);
    }
    input["cniVersion"] = network.version;
    input["name"] = network.name;
    Json granted = Json::object();
    for (const std::string& capability : plugin.capabilities) {
        const auto found = runtime_config.find(capability);
        if (found != runtime_config.end()) {
            granted.emplace(capability, *found);
        }
    }
    if (!granted.empty()) {
        input["runtimeConfig"] = std::move(granted);
    }
    if (!previous.is_null()) {
        input["prevResult"] = previous;
    }
    return input;
}

std::vector<std::string> plugin_environment(CniCommand command, const CniAttachment& attachment,
                                            const std::vector<std::string>& directories) {
    std::vector<std::string> environment = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "CNI_COMMAND=" + std::string(to_string(command)),
        "CNI_PATH=" + joined(directories, ':'),
    };
    if (attachment.container_id.empty()) {
        return environment;
    }
    std::vector<std::string> args;
    args.reserve(attachment.args.size());
    for (const auto& [name, value] : attachment.args) {
        args.push_back((name + "=").append(value));
    }
    environment.push_back("CNI_CONTAINERID=" + attachment.container_id);
    environment.push_back("CNI_NETNS=" + attachment.netns);
    environment.push_back("CNI_IFNAME=" + attachment.interface);
    environment.push_back("CNI_ARGS=" + joined(args, ';'));
    return environment;
}

CniOperation::CniOperation(EventLoop& loop, const Cni::Options& options, CniPlan plan,
                           OnDone on_done)
    : loop_(loop), options_(options), plan_(std::move(plan)), on_done_(std::move(on_done)) {}

CniOperation::~CniOperation() = default;

void CniOperation::start() {
    soon_ = loop_.after(std::chrono::milliseconds(0), [this] { next(); });
}

void CniOperation::next() {
    process_.reset();
    const std::vector<CniPlugin>& plugins = plan_.network.plugins;
    if (done_ == plugins.size()) {
        return finish(std::move(plan_.previous));
    }
    // spec 1.1 §Deleting an attachment: in reverse order.
    const CniPlugin& plugin =
        plan_.command == CniCommand::Del ? plugins[plugins.size() - 1 - done_] : plugins[done_];
    const std::string prefix =
        "cni plugin '" + plugin.type + "': " + std::string(to_string(plan_.command));
    if (Result<void> started = run(plugin, prefix); !started) {
        finish(std::move(started).error());
    }
}

Result<void> CniOperation::run(const CniPlugin& plugin, const std::string& prefix) {
    const std::string path = TRY(find_cni_program(plugin.type, options_.plugin_directories));
    Json input = plugin_input(plan_.network, plugin, plan_.runtime_config, plan_.previous);
    if (plan_.command == CniCommand::Gc) {
        // The second name is that of plugins older than the spec's last change (libcni has both).
        input["cni.dev/valid-attachments"] = plan_.valid;
        input["cni.dev/attachments"] = plan_.valid;
    }
    auto process = PluginProcess::start(
        loop_,
        {.path = path,
         .environment =
             plugin_environment(plan_.command, plan_.attachment, options_.plugin_directories),
         .input = input.dump(-1, ' ', false, Json::error_handler_t::replace),
         .timeout = options_.plugin_timeout},
        [this, prefix](Result<PluginProcess::Outcome> outcome) {
            Result<void> taken =
                outcome ? take(*std::move(outcome)) : Result<void>(std::move(outcome).error());
            if (!taken) {
                return finish(std::move(taken).error().within(prefix));
            }
            ++done_;
            start();
        });
    process_ = TRY(std::move(process), prefix);
    return {};
}

Result<void> CniOperation::take(const PluginProcess::Outcome& outcome) {
    if (outcome.exit != ChildExit{}) {
        return parse_cni_error(outcome.output, outcome.errors, to_string(outcome.exit));
    }
    if (plan_.command == CniCommand::Add) {
        Json result = TRY(runtime::oci::parse_json(outcome.output), "result");
        TRY(parse_cni_result(result));
        plan_.previous = std::move(result);
    }
    return {};
}

void CniOperation::finish(Result<Json> result) {
    OnDone on_done = std::move(on_done_);  // outlives us
    on_done(std::move(result));
}

void CniRuns::start(Result<CniPlan> plan, CniOperation::OnDone on_done) {
    const std::uint64_t id = next_id_++;
    Run& run = runs_[id];
    auto finish = [this, id, on_done = std::move(on_done)](Result<Json> result) mutable {
        const auto ended = runs_.extract(id);  // the operation outlives its callback
        on_done(std::move(result));
    };
    if (!plan) {
        run.failure =
            loop_.after(std::chrono::milliseconds(0),
                        [finish = std::move(finish), error = std::move(plan).error()]() mutable {
                            finish(std::move(error));
                        });
        return;
    }
    run.operation =
        std::make_unique<CniOperation>(loop_, options_, *std::move(plan), std::move(finish));
    run.operation->start();
}

}  // namespace pepita::cri
