#include "runtime/cli/poststop.h"

#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/report.h"
#include "runtime/hooks.h"
#include "runtime/state.h"

namespace pepita::runtime::cli {

void run_poststop_hooks(const Command& command, const Bundle& bundle) {
    const auto ran = oci::run_host_hooks(
        "poststop", bundle.hooks.poststop,
        oci::hook_state(bundle, command.id, ContainerStatus::Stopped, 0), oci::OnHookFailure::Note);
    if (!ran) {
        note(command, ran.error().message());
    }
}

}  // namespace pepita::runtime::cli
