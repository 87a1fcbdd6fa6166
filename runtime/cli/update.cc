#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/rpc/json.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{15};

/// OCI's `linux.resources` with what the options name.
std::string json_of(const ResourceOptions& options) {
    oci::OrderedJson resources = oci::OrderedJson::object();
    const auto set = [&resources](const char* group, const char* name, const auto& value) {
        if (value) {
            resources[group][name] = *value;
        }
    };
    set("memory", "limit", options.memory);
    set("memory", "reservation", options.memory_reservation);
    set("memory", "swap", options.memory_swap);
    set("cpu", "shares", options.cpu_shares);
    set("cpu", "quota", options.cpu_quota);
    set("cpu", "period", options.cpu_period);
    set("cpu", "burst", options.cpu_burst);
    set("cpu", "realtimePeriod", options.cpu_realtime_period);
    set("cpu", "realtimeRuntime", options.cpu_realtime_runtime);
    set("cpu", "idle", options.cpu_idle);
    set("cpu", "cpus", options.cpus);
    set("cpu", "mems", options.mems);
    set("pids", "limit", options.pids);
    set("blockIO", "weight", options.io_weight);
    return oci::dump(resources);
}

Result<std::string> read_resources(const std::string& path) {
    if (path == "-") {
        return read_all(FdRef(STDIN_FILENO), oci::kJsonSizeMax, "standard input");
    }
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
    return read_all(file.ref(), oci::kJsonSizeMax, path);
}

}  // namespace

Result<int> update(const Command& command) {
    const std::string& path = command.resources.file;
    const std::string json = path.empty() ? json_of(command.resources)
                                          : TRY(read_resources(path), "option '--resources'");
    (void)TRY(parse_resources(json));  // the same words, whether or not there is a container
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const std::unique_ptr<ShimLink> link = TRY(connect_running(*loop, command));
    TRY(link->ask<void>(
        [&](TaskClient& client, auto done) { client.update(command.id, json, std::move(done)); },
        kDeadline));
    return 0;
}

}  // namespace pepita::runtime::cli
