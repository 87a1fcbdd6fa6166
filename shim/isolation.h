#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/pod_spec.h"

namespace pepita::shim {

/// What a pod runs in.
enum class Isolation : std::uint8_t { Kvm, Tcg, Process };

std::string_view to_string(Isolation isolation);

/// What was chosen, and why, in one line for people: "tcg (/dev/kvm: ring 0 is interpreted)".
struct ChosenIsolation {
    Isolation isolation = Isolation::Tcg;
    std::string reason;
};

/// What is asked for by name is taken as it is. Auto asks /dev/kvm itself, never CPUID, whether it
/// runs guest kernels at full speed; it never takes Process.
ChosenIsolation choose_isolation(runtime::IsolationChoice choice);

}  // namespace pepita::shim
