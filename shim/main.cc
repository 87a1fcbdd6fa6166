#include <stdlib.h>  // getenv

#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/task_api.h"
#include "shim/confinement.h"
#include "shim/isolation.h"
#include "shim/server.h"

namespace {

using pepita::Code;
using pepita::Error;
using pepita::EventLoop;
using pepita::Fd;
using pepita::Result;

// The shim inherits a connected socket, its first client, as kShimSocketNumber, and its log as
// standard error. All else it learns from that client's first Create or CreateSandbox; but where
// containerd wants to be told of events, which TTRPC_ADDRESS and NAMESPACE say.

std::string environment(const char* name) {
    const char* value = ::getenv(name);
    return value == nullptr ? "" : value;
}

/// A snapshotter's mounts are made, and unmounted in the end, by containerd-shim-pepita-v2, which
/// is not confined.
Result<void> refuse_mounts(pepita::runtime::TaskCreate& request,
                           pepita::runtime::Bundle& /*bundle*/) {
    if (!request.mounts.empty()) {
        return Error(Code::Unsupported, "container '" + request.id + "': a root of type '" +
                                            request.mounts.front().type +
                                            "': pepita-shim mounts none");
    }
    return {};
}

Result<void> run() {
    pepita::shim::prepare_process();
    const auto loop = TRY(EventLoop::create());
    pepita::shim::Server server(
        *loop, {.events = {.address = environment("TTRPC_ADDRESS"),
                           .name_space = environment("NAMESPACE")},
                .on_create = refuse_mounts,
                .watch = {},
                .on_boot = [](pepita::shim::Isolation isolation) { return confine(isolation); }});
    Fd first(pepita::runtime::kShimSocketNumber);
    TRY(pepita::set_nonblocking(first.ref()));
    TRY(server.add(std::move(first)), "channel");
    return loop->run();
}

}  // namespace

int main() {
    const Result<void> ran = run();
    if (!ran) {
        pepita::log::error("pepita-shim gave up", {{"error", ran.error().message()}});
        return 1;
    }
    return 0;
}
