#include "cri/cni.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cri/cni/cache.h"
#include "cri/cni/network_config.h"
#include "cri/cni/operation.h"
#include "cri/cni/result.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::Json;

Result<void> check(const CniAttachment& attachment) {
    TRY(check_cni_name("container id", attachment.container_id));
    TRY(check_interface_name(attachment.interface));
    for (const auto& [name, value] : attachment.args) {
        // One would begin another argument, or end the variable.
        if ((name + value).find_first_of(std::string(";\0", 2)) != std::string::npos ||
            name.find('=') != std::string::npos || name.empty()) {
            return Error(Code::InvalidArgument, "CNI_ARGS: " + runtime::oci::in_quotes(name) +
                                                    " or its value holds ';', '=' or NUL");
        }
    }
    return {};
}

// A namespace that has gone is passed as none: plugins then free what they hold elsewhere.
std::string netns_if_there(const std::string& path) {
    struct stat about{};
    return !path.empty() && ::stat(path.c_str(), &about) == 0 ? path : std::string();
}

CniPlan plan_of(CniCommand command, const CachedAttachment& cached, CniNetwork network) {
    // An empty result is that of an ADD which did not end.
    const bool has_previous = is_at_least(network.version, "0.4.0") && !cached.result.empty();
    return {.command = command,
            .network = std::move(network),
            .attachment = {.container_id = cached.container_id,
                           .netns = netns_if_there(cached.netns),
                           .interface = cached.interface,
                           .args = cached.args,
                           .capabilities = {}},
            .runtime_config = cached.capabilities,
            .previous = has_previous ? cached.result : Json(),
            .valid = {}};
}

Result<CniPlan> plan_add(const Cni::Options& options, const CniAttachment& attachment) {
    TRY(check(attachment));
    const CniCache cache(options.cache_directory);
    if (cache.find(attachment.container_id, attachment.interface)) {
        return Error(Code::AlreadyExists, "container '" + attachment.container_id +
                                              "' has a network on '" + attachment.interface + "'");
    }
    CniChoice choice = TRY(choose_cni_network(options.config_directory));
    for (const std::string& fault : choice.passed_over) {
        log::warn("CNI network passed over, another is used",
                  {{"fault", fault}, {"used", choice.file}});
    }
    Json runtime_config = to_runtime_config(attachment.capabilities);
    // Before the plugins run, so that what a crash leaves half made can be removed.
    TRY(cache.save({.network_name = choice.network.name,
                    .container_id = attachment.container_id,
                    .interface = attachment.interface,
                    .netns = attachment.netns,
                    .config = choice.network.text,
                    .args = attachment.args,
                    .capabilities = runtime_config,
                    .result = Json::object()}));
    return CniPlan{.command = CniCommand::Add,
                   .network = std::move(choice.network),
                   .attachment = attachment,
                   .runtime_config = std::move(runtime_config),
                   .previous = {},
                   .valid = {}};
}

Result<CniResult> save_result(const Cni::Options& options, const CniAttachment& attachment,
                              const Json& result) {
    const CniCache cache(options.cache_directory);
    CachedAttachment cached =
        TRY(cache.load(TRY(cache.find(attachment.container_id, attachment.interface))));
    cached.result = result;
    TRY(cache.save(cached));
    return parse_cni_result(result);
}

Result<CniPlan> plan_cached(CniCommand command, const CniCache& cache, const std::string& file) {
    const CachedAttachment cached = TRY(cache.load(file));
    return plan_of(command, cached, TRY(parse_cni_network(cached.config), "'", file, "'"));
}

// A damaged cache must not keep a pod from being removed: the present network does it then.
Result<CniPlan> plan_remove(const Cni::Options& options, const CniAttachment& attachment,
                            const std::string& file) {
    auto plan = plan_cached(CniCommand::Del, CniCache(options.cache_directory), file);
    if (plan) {
        return plan;
    }
    log::warn("CNI cache is damaged, the present network removes the attachment",
              {{"container", attachment.container_id}, {"error", plan.error().message()}});
    CniChoice choice = TRY(choose_cni_network(options.config_directory));
    CniAttachment present = attachment;
    present.netns = netns_if_there(attachment.netns);
    return CniPlan{.command = CniCommand::Del,
                   .network = std::move(choice.network),
                   .attachment = std::move(present),
                   .runtime_config = to_runtime_config(attachment.capabilities),
                   .previous = {},
                   .valid = {}};
}

Result<CniPlan> plan_check(const Cni::Options& options, const CniAttachment& attachment) {
    TRY(check(attachment));
    const CniCache cache(options.cache_directory);
    CniPlan plan = TRY(plan_cached(CniCommand::Check, cache,
                                   TRY(cache.find(attachment.container_id, attachment.interface))));
    if (!is_at_least(plan.network.version, "0.4.0")) {
        return Error(Code::Unsupported,
                     "network '" + plan.network.name + "': CHECK begins with version 0.4.0");
    }
    if (plan.network.disable_check) {
        plan.network.plugins.clear();
    }
    return plan;
}

Result<CniPlan> plan_status(const Cni::Options& options) {
    CniChoice choice = TRY(choose_cni_network(options.config_directory));
    for (const CniPlugin& plugin : choice.network.plugins) {
        TRY(find_cni_program(plugin.type, options.plugin_directories));
    }
    if (!is_at_least(choice.network.version, "1.1.0")) {
        choice.network.plugins.clear();  // they have no STATUS
    }
    CniPlan plan;
    plan.command = CniCommand::Status;
    plan.network = std::move(choice.network);
    return plan;
}

Json to_json(const std::vector<std::pair<std::string, std::string>>& valid) {
    Json array = Json::array();
    for (const auto& [container_id, interface] : valid) {
        Json one = Json::object();
        one.emplace("containerID", container_id);
        one.emplace("ifname", interface);
        array.push_back(std::move(one));
    }
    return array;
}

Result<CniPlan> plan_collect(const Cni::Options& options, Json valid) {
    CniChoice choice = TRY(choose_cni_network(options.config_directory));
    if (choice.network.disable_gc || !is_at_least(choice.network.version, "1.1.0")) {
        choice.network.plugins.clear();  // they have no GC, or must not be asked
    }
    CniPlan plan;
    plan.command = CniCommand::Gc;
    plan.network = std::move(choice.network);
    plan.valid = std::move(valid);
    return plan;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> kubernetes_args(const std::string& pod_namespace,
                                                                 const std::string& pod_name,
                                                                 const std::string& pod_uid,
                                                                 const std::string& sandbox_id) {
    return {{"IgnoreUnknown", "1"},
            {"K8S_POD_NAMESPACE", pod_namespace},
            {"K8S_POD_NAME", pod_name},
            {"K8S_POD_INFRA_CONTAINER_ID", sandbox_id},
            {"K8S_POD_UID", pod_uid}};
}

Cni::Cni(EventLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)), runs_(std::make_unique<CniRuns>(loop, options_)) {}

Cni::~Cni() = default;

void Cni::add(CniAttachment attachment, OnResult on_result) {
    auto plan = plan_add(options_, attachment);
    const bool was_begun = plan.has_value();
    runs_->start(std::move(plan), [this, was_begun, attachment = std::move(attachment),
                                   on_result = std::move(on_result)](Result<Json> result) mutable {
        if (!result && !was_begun) {
            return on_result(std::move(result).error());
        }
        auto saved = result ? save_result(options_, attachment, *result)
                            : Result<CniResult>(std::move(result).error());
        if (!saved) {
            return undo(attachment, std::move(saved).error(), std::move(on_result));
        }
        on_result(std::move(saved));
    });
}

// spec 1.1 §Adding an attachment: a failure is followed by DEL.
void Cni::undo(const CniAttachment& attachment, Error error, OnResult on_result) {
    remove(attachment, [error = std::move(error),
                        on_result = std::move(on_result)](Result<void> undone) mutable {
        if (undone) {
            return on_result(std::move(error));
        }
        on_result(Error(error.code(), error.message() + "; undo: " + undone.error().message()));
    });
}

void Cni::remove(const CniAttachment& attachment, OnDone on_done) {
    auto file =
        CniCache(options_.cache_directory).find(attachment.container_id, attachment.interface);
    const std::string name = file ? *file : std::string();
    auto plan =
        file ? plan_remove(options_, attachment, name) : Result<CniPlan>(std::move(file).error());
    runs_->start(std::move(plan), [this, name,
                                   on_done = std::move(on_done)](Result<Json> result) mutable {
        // Not there, for us or, by its own word, for a plugin: nothing is left to remove.
        if (!result && result.error().code() != Code::NotFound) {
            return on_done(std::move(result).error());
        }
        on_done(name.empty() ? Result<void>() : CniCache(options_.cache_directory).remove(name));
    });
}

void Cni::check(const CniAttachment& attachment, OnDone on_done) {
    runs_->start(plan_check(options_, attachment),
                 [on_done = std::move(on_done)](Result<Json> result) mutable {
                     on_done(result ? Result<void>() : std::move(result).error());
                 });
}

void Cni::collect(std::vector<std::pair<std::string, std::string>> valid, OnDone on_done) {
    const auto choice = choose_cni_network(options_.config_directory);
    const CniCache cache(options_.cache_directory);
    const auto files = cache.files();
    std::vector<CniAttachment> stale;
    if (choice && files && !choice->network.disable_gc) {
        for (const std::string& file : *files) {
            const auto cached = cache.load(file);
            if (cached && cached->network_name == choice->network.name &&
                std::ranges::find(valid, std::pair(cached->container_id, cached->interface)) ==
                    valid.end()) {
                stale.push_back({.container_id = cached->container_id,
                                 .netns = cached->netns,
                                 .interface = cached->interface,
                                 .args = cached->args,
                                 .capabilities = {}});
            }
        }
    }
    remove_stale(
        std::move(stale), std::nullopt,
        [this, valid = to_json(valid), on_done = std::move(on_done)](Result<void> removed) mutable {
            runs_->start(plan_collect(options_, std::move(valid)),
                         [removed = std::move(removed),
                          on_done = std::move(on_done)](Result<Json> result) mutable {
                             if (!removed) {
                                 return on_done(std::move(removed).error());
                             }
                             on_done(result ? Result<void>() : std::move(result).error());
                         });
        });
}

// One that fails does not keep the others; its error is reported.
void Cni::remove_stale(std::vector<CniAttachment> stale, std::optional<Error> failure,
                       OnDone on_done) {
    if (stale.empty()) {
        return on_done(failure ? Result<void>(std::move(*failure)) : Result<void>());
    }
    const CniAttachment next = std::move(stale.back());
    stale.pop_back();
    remove(next, [this, stale = std::move(stale), failure = std::move(failure),
                  on_done = std::move(on_done)](Result<void> removed) mutable {
        if (!removed && !failure) {
            failure = std::move(removed).error();
        }
        remove_stale(std::move(stale), std::move(failure), std::move(on_done));
    });
}

void Cni::status(OnDone on_done) {
    runs_->start(plan_status(options_),
                 [on_done = std::move(on_done)](Result<Json> result) mutable {
                     on_done(result ? Result<void>() : std::move(result).error());
                 });
}

Result<CniResult> Cni::cached(const std::string& container_id, const std::string& interface) const {
    const CniCache cache(options_.cache_directory);
    return parse_cni_result(TRY(cache.load(TRY(cache.find(container_id, interface)))).result);
}

}  // namespace pepita::cri
