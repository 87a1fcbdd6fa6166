#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/cni.h"
#include "cri/cni/network_config.h"
#include "cri/cni/plugin_process.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

enum class CniCommand : std::uint8_t { Add, Del, Check, Gc, Status };

std::string_view to_string(CniCommand command);

/// runtimeConfig of all capabilities that are not empty: an object.
runtime::oci::Json to_runtime_config(const CniCapabilities& capabilities);

/// What a plugin reads: its own object with the members that the runtime adds.
/// `runtime_config` is filtered by the plugin's capabilities; `previous` is null for none.
runtime::oci::Json plugin_input(const CniNetwork& network, const CniPlugin& plugin,
                                const runtime::oci::Json& runtime_config,
                                const runtime::oci::Json& previous);

/// The environment of the spec's parameters. An attachment that is empty gives none of its own.
std::vector<std::string> plugin_environment(CniCommand command, const CniAttachment& attachment,
                                            const std::vector<std::string>& directories);

/// One command for a network's plugins.
struct CniPlan {
    CniCommand command = CniCommand::Add;
    CniNetwork network;
    CniAttachment attachment;  // empty for GC and STATUS
    runtime::oci::Json runtime_config = runtime::oci::Json::object();
    runtime::oci::Json previous;  // result; null for none
    runtime::oci::Json valid;     // attachments, of GC
};

/// Runs it, plugin by plugin; in reverse for DEL. The first failure ends it.
class CniOperation {
public:
    /// The last plugin's result, for ADD.
    using OnDone = std::move_only_function<void(Result<runtime::oci::Json>)>;

    /// `loop` and `options` are borrowed for the operation's life. `on_done` may destroy it.
    CniOperation(EventLoop& loop, const Cni::Options& options, CniPlan plan, OnDone on_done);
    CniOperation(const CniOperation&) = delete;
    CniOperation& operator=(const CniOperation&) = delete;
    CniOperation(CniOperation&&) = delete;
    CniOperation& operator=(CniOperation&&) = delete;
    ~CniOperation();

    /// Calls back later, not from within.
    void start();

private:
    void next();
    Result<void> run(const CniPlugin& plugin, const std::string& prefix);
    Result<void> take(const PluginProcess::Outcome& outcome);
    void finish(Result<runtime::oci::Json> result);

    EventLoop& loop_;
    const Cni::Options& options_;
    CniPlan plan_;
    OnDone on_done_;
    std::size_t done_ = 0;  // plugins
    std::unique_ptr<PluginProcess> process_;
    EventLoop::Timer soon_;
};

/// Operations in flight. They end with it, without their callbacks.
class CniRuns {
public:
    CniRuns(EventLoop& loop, const Cni::Options& options) : loop_(loop), options_(options) {}

    /// An error in place of a plan is reported as the operation's.
    void start(Result<CniPlan> plan, CniOperation::OnDone on_done);

private:
    struct Run {
        std::unique_ptr<CniOperation> operation;
        EventLoop::Timer failure;
    };

    EventLoop& loop_;
    const Cni::Options& options_;
    std::map<std::uint64_t, Run> runs_;
    std::uint64_t next_id_ = 1;
};

/// The path of a plugin's program. Errors: FailedPrecondition.
Result<std::string> find_cni_program(const std::string& type,
                                     const std::vector<std::string>& directories);

}  // namespace pepita::cri
