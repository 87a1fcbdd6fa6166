#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"

namespace pepita::runtime::cli {

/// One option: how it is written, who takes it, what it does. Parser and help text read the table.
struct OptionRule {
    std::string_view name;        // after "--"
    char letter;                  // after "-"; 0: none
    std::string_view value_name;  // empty: takes no value
    std::string_view help;
    std::uint32_t verbs;  // bit per Verb; Verb::None stands for the global ones
    Result<void> (*apply)(Command& command, std::string_view value);
};

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
