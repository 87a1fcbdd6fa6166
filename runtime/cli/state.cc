#include "runtime/state.h"

#include <chrono>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/report.h"
#include "runtime/cli/verbs.h"
#include "runtime/store.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{15};

}  // namespace

Result<int> state(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const auto store = TRY(oci::ContainerStore::open(command.root));
    const ContainerState found = TRY(observe(*loop, store, command.id, kDeadline));
    return print(to_oci_json(found)) ? 0 : 1;
}

}  // namespace pepita::runtime::cli
