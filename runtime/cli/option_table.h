#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/cli/command_line.h"
#include "runtime/rpc/options.h"

namespace pepita::runtime::cli {

/// Verb::None stands for the global ones.
using OptionRule = runtime::OptionRule<Command>;

/// A verb's words for the help text.
struct VerbRule {
    Verb verb;
    std::string_view name;
    std::string_view arguments;
    std::string_view help;
};

std::span<const OptionRule> option_rules();
std::span<const VerbRule> verb_rules();

constexpr std::uint32_t bit(Verb verb) { return 1U << static_cast<unsigned>(verb); }

}  // namespace pepita::runtime::cli
