#include <chrono>
#include <memory>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{15};

}  // namespace

Result<int> pause(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const std::unique_ptr<ShimLink> link = TRY(connect_running(*loop, command));
    TRY(link->ask<void>(
        [&](TaskClient& client, auto done) { client.pause(command.id, std::move(done)); },
        kDeadline));
    return 0;
}

}  // namespace pepita::runtime::cli
