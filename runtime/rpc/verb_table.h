#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/rpc/options.h"

namespace pepita::runtime {

/// A command of a program. `Verb` has None and one enumerator for each.
template <typename Verb>
struct VerbRule {
    Verb verb;
    std::string_view name;
    std::string_view arguments;  // "NAME FILE"; "IMAGE...": at least one
    std::string_view help;
};

template <typename Verb>
constexpr VerbRule<Verb> verb_rule(Verb which, std::string_view name, std::string_view arguments,
                                   std::string_view help) {
    return {.verb = which, .name = name, .arguments = arguments, .help = help};
}

/// Of OptionSpec::verbs.
template <typename Verb>
constexpr std::uint32_t bit(Verb verb) {
    return 1U << static_cast<unsigned>(verb);
}

/// Null where there is none.
template <typename Verb>
const VerbRule<Verb>* rule_named(std::span<const VerbRule<Verb>> rules, std::string_view name) {
    const auto found = std::ranges::find(rules, name, &VerbRule<Verb>::name);
    return found == rules.end() ? nullptr : &*found;
}

/// Null where there is none.
template <typename Verb>
const VerbRule<Verb>* rule_of(std::span<const VerbRule<Verb>> rules, Verb verb) {
    const auto found = std::ranges::find(rules, verb, &VerbRule<Verb>::verb);
    return found == rules.end() ? nullptr : &*found;
}

template <typename Verb>
std::string_view name_of(std::span<const VerbRule<Verb>> rules, Verb verb) {
    const VerbRule<Verb>* const rule = rule_of(rules, verb);
    return rule == nullptr ? "" : rule->name;
}

struct HelpWords {
    std::string_view program;  // "pepita image"
    std::string_view what;     // it does: whole sentences
    std::string_view end;      // what is said last
};

/// Of one verb, or of the program where there is none of `topic`.
template <typename Verb, typename Options>
std::string help_of(std::span<const VerbRule<Verb>> verbs,
                    std::span<const OptionRule<Options>> options, Verb topic,
                    const HelpWords& words) {
    const auto with_arguments = [](const VerbRule<Verb>& rule) {
        std::string text(rule.name);
        return text.append(rule.arguments.empty() ? "" : " ").append(rule.arguments);
    };
    std::string text = "Usage: " + std::string(words.program) + " ";
    if (const VerbRule<Verb>* const rule = rule_of(verbs, topic); rule != nullptr) {
        text.append(with_arguments(*rule)).append(" [OPTION...]\n\nTo ");
        text.append(rule->help).append(".\n\n");
        append_help(text, options, bit(topic));
        return text;
    }
    text.append("COMMAND [ARGUMENT...] [OPTION...]\n\n").append(words.what).append("\n\n");
    for (const VerbRule<Verb>& rule : verbs) {
        append_help(text, with_arguments(rule), rule.help);
    }
    text.append("\n");
    append_help(text, options, bit(Verb::None));
    return text.append("\n").append(words.end).append("\n");
}

}  // namespace pepita::runtime
