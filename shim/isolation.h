#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pepita::shim {

/// What a pod runs in.
enum class Isolation : std::uint8_t { Kvm, Tcg };

/// What an operator may ask for.
enum class IsolationChoice : std::uint8_t { Auto, Kvm, Tcg };

std::string_view to_string(Isolation isolation);

/// "auto", "kvm" or "tcg"; nothing for another word.
std::optional<IsolationChoice> isolation_choice(std::string_view name);

/// What was chosen, and why, in one line for people: "tcg (/dev/kvm: ring 0 is interpreted)".
struct ChosenIsolation {
    Isolation isolation = Isolation::Tcg;
    std::string reason;
};

/// What is asked for by name is taken as it is. Auto asks /dev/kvm itself, never CPUID, whether it
/// runs guest kernels at full speed.
ChosenIsolation choose_isolation(IsolationChoice choice);

}  // namespace pepita::shim
