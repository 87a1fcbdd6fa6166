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

namespace pepita::runtime {

// Command lines of all programs: a table of options, which parser and help text read.

/// One option: how it is written, who takes it, what it does to the Options.
template <typename Options>
struct OptionRule {
    std::string_view name;        // after "--"
    char letter;                  // after "-"; 0: none
    std::string_view value_name;  // empty: takes no value
    std::string_view help;
    std::uint32_t verbs;  // a bit for each verb that takes it
    Result<void> (*apply)(Options& options, std::string_view value);
};

/// For a table of them.
template <typename Options>
constexpr OptionRule<Options> option_rule(std::string_view name, char letter,
                                          std::string_view value_name, std::string_view help,
                                          std::uint32_t verbs,
                                          Result<void> (*apply)(Options&, std::string_view)) {
    return {.name = name,
            .letter = letter,
            .value_name = value_name,
            .help = help,
            .verbs = verbs,
            .apply = apply};
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

/// Whether a word is an option, and not an argument or the "-" that stands for one.
inline bool is_option(std::string_view word) { return word.size() > 1 && word.front() == '-'; }

/// Applies the option at the front of `arguments`, one that a verb of `verbs` takes, and drops it
/// there with its value. Errors: InvalidArgument, in one line.
template <typename Options>
Result<void> apply_option(std::span<const std::string>& arguments,
                          std::span<const OptionRule<Options>> rules, std::uint32_t verbs,
                          Options& options) {
    const std::string& argument = arguments.front();
    arguments = arguments.subspan(1);
    const std::size_t equals = argument.find('=');
    const std::string word = argument.substr(0, equals);
    const auto rule = std::ranges::find_if(rules, [&](const OptionRule<Options>& candidate) {
        const bool is_long = word.starts_with("--") && candidate.name == word.substr(2);
        const bool is_short =
            candidate.letter != 0 && word.size() == 2 && word.back() == candidate.letter;
        return (candidate.verbs & verbs) != 0 && (is_long || is_short);
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
    } else if (arguments.empty()) {
        return usage_error("option '" + word + "' needs a value");
    } else {
        value = arguments.front();
        arguments = arguments.subspan(1);
    }
    TRY(rule->apply(options, value), "option '", word, "'");
    return {};
}

/// All options among `arguments`, and gives the rest in order. What stands after "--" is none.
/// Errors: as apply_option().
template <typename Options>
Result<std::vector<std::string>> apply_options(std::span<const std::string> arguments,
                                               std::span<const OptionRule<Options>> rules,
                                               std::uint32_t verbs, Options& options) {
    std::vector<std::string> rest;
    while (!arguments.empty() && arguments.front() != "--") {
        if (is_option(arguments.front())) {
            TRY(apply_option(arguments, rules, verbs, options));
        } else {
            rest.push_back(arguments.front());
            arguments = arguments.subspan(1);
        }
    }
    if (!arguments.empty()) {
        rest.insert(rest.end(), arguments.begin() + 1, arguments.end());
    }
    return rest;
}

/// One line of a help text: what is written, and what it does.
inline void append_help(std::string& text, std::string left, std::string_view help) {
    constexpr std::size_t column = 28;
    left.resize(std::max(column, left.size() + 2), ' ');
    text.append("  ").append(left).append(help).append("\n");
}

/// A line for each option of `verbs`.
template <typename Options>
void append_help(std::string& text, std::span<const OptionRule<Options>> rules,
                 std::uint32_t verbs) {
    for (const OptionRule<Options>& rule : rules) {
        if ((rule.verbs & verbs) != 0) {
            std::string left = rule.letter == 0 ? "    --" : std::string{'-', rule.letter} + ", --";
            left.append(rule.name).append(rule.value_name.empty() ? "" : " ");
            append_help(text, left.append(rule.value_name), rule.help);
        }
    }
}

}  // namespace pepita::runtime
