#include "runtime/cli/command_line.h"

#include <signal.h>
#include <string.h>  // sigabbrev_np

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/option_table.h"
#include "runtime/rpc/options.h"

namespace pepita::runtime::cli {
namespace {

constexpr int kSignalMax = 64;
constexpr int kRealTimeMin = 34;  // glibc has 32 and 33 for itself

constexpr std::array kSignalAliases{std::pair<std::string_view, int>{"CLD", SIGCHLD},
                                    std::pair<std::string_view, int>{"IOT", SIGABRT},
                                    std::pair<std::string_view, int>{"POLL", SIGIO}};

/// "RTMIN", "RTMIN+3", "RTMAX-2".
std::optional<int> real_time_signal(std::string_view name) {
    const bool is_from_least = name.starts_with("RTMIN");
    if (!is_from_least && !name.starts_with("RTMAX")) {
        return std::nullopt;
    }
    const std::string_view rest = name.substr(std::string_view("RTMIN").size());
    int distance = 0;
    if (!rest.empty()) {
        const Result<std::uint64_t> number =
            parse_number(rest.substr(1), 0, kSignalMax - kRealTimeMin);
        if (rest.front() != (is_from_least ? '+' : '-') || !number) {
            return std::nullopt;
        }
        distance = static_cast<int>(*number);
    }
    return is_from_least ? kRealTimeMin + distance : kSignalMax - distance;
}

/// Commands of runc for which a microVM has no counterpart yet.
constexpr auto kUnsupported = std::to_array<std::string_view>({"checkpoint", "restore"});

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
        if (rest.empty() && !arguments_.empty()) {
            rest.push_back(take());  // after "--"
        }
        if (rest.empty()) {
            return usage_error("no command given; try --help");
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
    const std::string& take() {
        const std::string& first = arguments_.front();
        arguments_ = arguments_.subspan(1);
        return first;
    }

    /// Options of `verb` up to what is none. Global ones must stand before the verb, and those of
    /// exec and ps before the container, because what follows may look like one.
    Result<void> read_options(Verb verb, std::vector<std::string>& rest) {
        const bool is_in_order = verb == Verb::None || verb == Verb::Exec || verb == Verb::Ps;
        while (!arguments_.empty() && command_.verb != Verb::Help &&
               command_.verb != Verb::Version) {
            if (arguments_.front() == "--") {
                (void)take();
                break;
            }
            if (is_option(arguments_.front())) {
                TRY(read_option(verb));
                continue;
            }
            rest.push_back(take());
            if (is_in_order) {
                break;
            }
        }
        if (verb != Verb::None) {
            rest.insert(rest.end(), arguments_.begin(), arguments_.end());
        }
        return {};
    }

    Result<void> read_option(Verb verb) {
        const std::string& word = arguments_.front();
        if (word == "--help" || word == "-h") {
            command_.verb = Verb::Help;
            return {};
        }
        if (verb == Verb::None && (word == "--version" || word == "-v")) {
            command_.verb = Verb::Version;
            return {};
        }
        (void)TRY(apply_option(arguments_, option_rules(), bit(verb), command_));
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
        if (std::ranges::find(kUnsupported, name) != kUnsupported.end()) {
            return Error(Code::Unsupported, "command '" + name + "' is not supported");
        }
        return usage_error("unknown command '" + name + "'; try --help");
    }

    Result<void> read_topic() {
        if (arguments_.empty()) {
            return {};
        }
        TRY(read_verb(arguments_.front()));
        command_.topic = std::exchange(command_.verb, Verb::Help);
        return {};
    }

    Result<void> read_arguments(std::vector<std::string> rest) {
        const Verb verb = command_.verb;
        std::size_t count_max = 0;
        if (verb != Verb::List && verb != Verb::Spec && verb != Verb::Features) {
            if (rest.empty()) {
                return usage_error("no container id given");
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
        if (verb == Verb::Ps) {
            command_.args = std::move(rest);
            return {};
        }
        if (rest.size() > count_max) {
            return usage_error("unexpected argument '" + rest[count_max] + "'");
        }
        return {};
    }

    Result<void> read_exec(std::vector<std::string> rest) {
        if (!rest.empty() && rest.front() == "--") {
            rest.erase(rest.begin());
        }
        command_.args = std::move(rest);
        if (command_.process_file.empty() && command_.args.empty()) {
            return usage_error("no command for the container given");
        }
        if (!command_.process_file.empty() && !command_.args.empty()) {
            return usage_error("option '--process' and a command exclude each other");
        }
        return {};
    }

    std::span<const std::string> arguments_;
    Command& command_;
};

void append_options(std::string& text, Verb verb) {
    append_help(text, option_rules(), bit(verb));
    append_help(text, "-h, --help", "print this");
}

}  // namespace

Result<int> parse_signal(std::string_view text) {
    if (text.empty()) {
        return SIGTERM;
    }
    if (const Result<std::uint64_t> number = parse_number(text, 0, kSignalMax)) {
        return static_cast<int>(*number);
    }
    std::string name(text);
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    if (name.starts_with("SIG")) {
        name.erase(0, 3);
    }
    for (const auto& [alias, number] : kSignalAliases) {
        if (name == alias) {
            return number;
        }
    }
    for (int candidate = 1; candidate < SIGSYS + 1; ++candidate) {
        const char* known = ::sigabbrev_np(candidate);
        if (known != nullptr && name == known) {
            return candidate;
        }
    }
    const std::optional<int> real_time = real_time_signal(name);
    if (!real_time) {
        return usage_error("no such signal: '" + std::string(text) + "'");
    }
    return *real_time;
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
            append_help(text, std::string(rule.name).append(" ").append(rule.arguments), rule.help);
        }
        text.append("\nOptions:\n");
        append_options(text, topic);
        append_help(text, "-v, --version", "print the version");
        return text;
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
