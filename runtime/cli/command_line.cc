#include "runtime/cli/command_line.h"

#include <signal.h>
#include <string.h>  // sigabbrev_np

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/option_table.h"

namespace pepita::runtime::cli {
namespace {

constexpr int kSignalMax = 64;
constexpr std::size_t kHelpColumn = 28;

Error usage(std::string message) { return {Code::InvalidArgument, std::move(message)}; }

/// Walks the arguments: options are taken out and applied, the rest is handed on.
class Parser {
public:
    Parser(std::span<const std::string> arguments, Command& command)
        : arguments_(arguments), command_(command) {}

    Result<void> parse() {
        std::vector<std::string> rest;
        TRY(read_options(Verb::None, rest));
        if (command_.verb != Verb::None) {
            return {};  // --help or --version
        }
        if (rest.empty() && !at_end()) {
            rest.push_back(arguments_[at_++]);  // after "--"
        }
        if (rest.empty()) {
            return usage("no command given; try --help");
        }
        TRY(read_verb(rest.front()));
        if (command_.verb == Verb::Help) {
            return read_topic();
        }
        rest.clear();
        const Verb verb = command_.verb;
        TRY(read_options(verb, rest));
        if (command_.verb == Verb::Help) {
            command_.topic = verb;
            return {};
        }
        return read_arguments(std::move(rest));
    }

private:
    bool at_end() const { return at_ == arguments_.size(); }

    /// Options of `verb` up to what is none. Global ones must stand before the verb, and those of
    /// exec before the container, because what follows may look like one.
    Result<void> read_options(Verb verb, std::vector<std::string>& rest) {
        const bool is_in_order = verb == Verb::None || verb == Verb::Exec;
        while (!at_end() && command_.verb != Verb::Help && command_.verb != Verb::Version) {
            const std::string& argument = arguments_[at_];
            if (argument == "--") {
                ++at_;
                break;
            }
            if (argument.size() < 2 || argument.front() != '-') {
                rest.push_back(argument);
                ++at_;
                if (is_in_order) {
                    break;
                }
                continue;
            }
            ++at_;
            TRY(read_option(verb, argument));
        }
        if (verb != Verb::None) {
            rest.insert(rest.end(), arguments_.begin() + static_cast<std::ptrdiff_t>(at_),
                        arguments_.end());
        }
        return {};
    }

    Result<void> read_option(Verb verb, const std::string& argument) {
        const std::size_t equals = argument.find('=');
        const std::string word = argument.substr(0, equals);
        if (word == "--help" || word == "-h") {
            command_.verb = Verb::Help;
            return {};
        }
        if (verb == Verb::None && (word == "--version" || word == "-v")) {
            command_.verb = Verb::Version;
            return {};
        }
        const auto rules = option_rules();
        const auto rule = std::ranges::find_if(rules, [&](const OptionRule& candidate) {
            const bool is_long = word == "--" + std::string(candidate.name);
            const bool is_short = candidate.letter != 0 && word.size() == 2 &&
                                  word.front() == '-' && word.back() == candidate.letter;
            return (candidate.verbs & bit(verb)) != 0 && (is_long || is_short);
        });
        if (rule == rules.end()) {
            return usage("unknown option '" + word + "'");
        }
        const bool has_value = equals != std::string::npos;
        if (rule->value_name.empty() && has_value) {
            return usage("option '" + word + "' takes no value");
        }
        std::string value;
        if (has_value) {
            value = argument.substr(equals + 1);
        } else if (!rule->value_name.empty()) {
            if (at_end()) {
                return usage("option '" + word + "' needs a value");
            }
            value = arguments_[at_++];
        }
        TRY(rule->apply(command_, value), "option '", word, "'");
        return {};
    }

    Result<void> read_verb(const std::string& name) {
        if (name == "help") {
            command_.verb = Verb::Help;
            return {};
        }
        for (const VerbRule& rule : verb_rules()) {
            if (rule.name == name) {
                command_.verb = rule.verb;
                return {};
            }
        }
        return usage("unknown command '" + name + "'; try --help");
    }

    Result<void> read_topic() {
        if (at_end()) {
            return {};
        }
        TRY(read_verb(arguments_[at_]));
        command_.topic = std::exchange(command_.verb, Verb::Help);
        return {};
    }

    Result<void> read_arguments(std::vector<std::string> rest) {
        const Verb verb = command_.verb;
        std::size_t count_max = 0;
        if (verb != Verb::List && verb != Verb::Spec) {
            if (rest.empty()) {
                return usage("no container id given");
            }
            command_.id = std::move(rest.front());
            rest.erase(rest.begin());
            TRY(check_container_id(command_.id));
        }
        if (verb == Verb::Kill) {
            count_max = 1;
            if (!rest.empty()) {
                command_.signal = TRY(parse_signal(rest.front()));
            }
        }
        if (verb == Verb::Exec) {
            return read_exec(std::move(rest));
        }
        if (rest.size() > count_max) {
            return usage("unexpected argument '" + rest[count_max] + "'");
        }
        return {};
    }

    Result<void> read_exec(std::vector<std::string> rest) {
        if (!rest.empty() && rest.front() == "--") {
            rest.erase(rest.begin());
        }
        command_.args = std::move(rest);
        if (command_.process_file.empty() && command_.args.empty()) {
            return usage("no command for the container given");
        }
        if (!command_.process_file.empty() && !command_.args.empty()) {
            return usage("option '--process' and a command exclude each other");
        }
        return {};
    }

    std::span<const std::string> arguments_;
    Command& command_;
    std::size_t at_ = 0;
};

void append_options(std::string& text, Verb verb) {
    for (const OptionRule& rule : option_rules()) {
        if ((rule.verbs & bit(verb)) == 0) {
            continue;
        }
        std::string left =
            rule.letter == 0 ? "      --" : std::string("  -") + rule.letter + ", --";
        left.append(rule.name);
        if (!rule.value_name.empty()) {
            left.append(" ").append(rule.value_name);
        }
        left.resize(std::max(kHelpColumn + 2, left.size() + 2), ' ');
        text.append(left).append(rule.help).append("\n");
    }
    text.append("  -h, --help                  print this\n");
}

}  // namespace

Result<int> parse_signal(std::string_view text) {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size() && number >= 1 &&
        number <= kSignalMax) {
        return number;
    }
    std::string name(text);
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (name.starts_with("SIG")) {
        name.erase(0, 3);
    }
    for (int candidate = 1; candidate < SIGSYS + 1; ++candidate) {
        const char* known = ::sigabbrev_np(candidate);
        if (known != nullptr && name == known) {
            return candidate;
        }
    }
    return usage("no such signal: '" + std::string(text) + "'");
}

Result<void> parse_command_line(std::span<const std::string> arguments, Command& command) {
    return Parser(arguments, command).parse();
}

std::string help_text(Verb topic) {
    if (topic == Verb::None) {
        std::string text =
            "Usage: pepita-run [OPTION...] COMMAND [OPTION...] [ARGUMENT...]\n\n"
            "Runs OCI bundles, each in a microVM of its own.\n\nCommands:\n";
        for (const VerbRule& rule : verb_rules()) {
            std::string left = "  " + std::string(rule.name) + " " + std::string(rule.arguments);
            left.resize(std::max(kHelpColumn + 2, left.size() + 2), ' ');
            text.append(left).append(rule.help).append("\n");
        }
        text.append("\nOptions:\n");
        append_options(text, topic);
        return text.append("  -v, --version               print the version\n");
    }
    for (const VerbRule& rule : verb_rules()) {
        if (rule.verb == topic) {
            std::string text = "Usage: pepita-run [OPTION...] " + std::string(rule.name) +
                               " [OPTION...]" + (rule.arguments.empty() ? "" : " ");
            text.append(rule.arguments).append("\n\n");
            std::string help(rule.help);
            help.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(help[0])));
            text.append(help).append(".\n\nOptions:\n");
            append_options(text, topic);
            return text;
        }
    }
    return "";
}

}  // namespace pepita::runtime::cli
