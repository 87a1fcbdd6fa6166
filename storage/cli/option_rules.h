#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::storage::cli {

/// One option: how it is written, who takes it, what it does to the Options. Parser and help text
/// read the table.
template <typename Options>
struct OptionRule {
    std::string_view name;        // with its "--"
    std::string_view value_name;  // empty: takes no value
    std::string_view help;
    std::uint32_t verbs;  // a bit for each verb that takes it
    Result<void> (*apply)(Options& options, std::string_view value);
};

/// For a table of them.
template <typename Options>
constexpr OptionRule<Options> option(std::string_view name, std::string_view value_name,
                                     std::string_view help, std::uint32_t verbs,
                                     Result<void> (*apply)(Options&, std::string_view)) {
    return {.name = name, .value_name = value_name, .help = help, .verbs = verbs, .apply = apply};
}

inline Error usage_error(std::string message) {
    return {Code::InvalidArgument, std::move(message)};
}

/// Errors: InvalidArgument "must be a whole number from ... to ...".
inline Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t least,
                                          std::uint64_t most) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
        return usage_error("must be a whole number from " + std::to_string(least) + " to " +
                           std::to_string(most));
    }
    return value;
}

/// Applies the options among `arguments` that a verb of `verbs` takes, and gives the rest in order.
/// What stands after "--" is none. Errors: InvalidArgument, in one line.
template <typename Options>
Result<std::vector<std::string>> apply_options(std::span<const std::string> arguments,
                                               std::span<const OptionRule<Options>> rules,
                                               std::uint32_t verbs, Options& options) {
    std::vector<std::string> rest;
    for (std::size_t at = 0; at < arguments.size(); ++at) {
        const std::string& argument = arguments[at];
        if (argument == "--") {
            rest.insert(rest.end(), arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                        arguments.end());
            break;
        }
        if (argument.size() < 2 || argument.front() != '-') {
            rest.push_back(argument);
            continue;
        }
        const std::size_t equals = argument.find('=');
        const std::string word = argument == "-h" ? "--help" : argument.substr(0, equals);
        const auto rule = std::ranges::find_if(rules, [&](const OptionRule<Options>& candidate) {
            return candidate.name == word && (candidate.verbs & verbs) != 0;
        });
        if (rule == rules.end()) {
            return usage_error("unknown option '" + word + "'");
        }
        std::string value;
        if (rule->value_name.empty()) {
            if (equals != std::string::npos) {
                return usage_error("option '" + word + "' takes no value");
            }
        } else if (equals != std::string::npos) {
            value = argument.substr(equals + 1);
        } else if (++at == arguments.size()) {
            return usage_error("option '" + word + "' needs a value");
        } else {
            value = arguments[at];
        }
        TRY(rule->apply(options, value), "option '", word, "'");
    }
    return rest;
}

/// One line of a help text: what is written, and what it does.
inline void append_help(std::string& text, std::string left, std::string_view help) {
    constexpr std::size_t column = 25;
    left.resize(std::max(column, left.size() + 2), ' ');
    text.append("  ").append(left).append(help).append("\n");
}

/// A line for each option of `verbs`.
template <typename Options>
void append_help(std::string& text, std::span<const OptionRule<Options>> rules,
                 std::uint32_t verbs) {
    for (const OptionRule<Options>& rule : rules) {
        if ((rule.verbs & verbs) != 0) {
            const std::string space = rule.value_name.empty() ? "" : " ";
            append_help(text, std::string(rule.name).append(space).append(rule.value_name),
                        rule.help);
        }
    }
}

}  // namespace pepita::storage::cli
