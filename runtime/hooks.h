#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/state.h"

namespace pepita::runtime::oci {

/// The state that a hook reads, as JSON in one line, with "pid" first.
std::string hook_state(const Bundle& bundle, std::string_view id, ContainerStatus status,
                       std::uint32_t pid);

/// What becomes of a hook that fails.
enum class OnHookFailure : std::uint8_t {
    Stop,  // the rest is not run
    Note,  // all are run
};

/// Runs hooks on this machine, as children of the caller, one after the other; waits for each, up
/// to its timeout. `state` is its input; what it prints is part of the error.
/// Errors: of the first that fails; name the kind, the hook and how it ended.
Result<void> run_host_hooks(std::string_view kind, const std::vector<HookSpec>& hooks,
                            const std::string& state, OnHookFailure on_failure);

}  // namespace pepita::runtime::oci
