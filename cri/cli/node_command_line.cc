#include "cri/cli/node_command_line.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/rpc/options.h"
#include "runtime/rpc/verb_table.h"

namespace pepita::cri::cli {
namespace {

using runtime::action;
using runtime::bit;
using runtime::Flag;
using runtime::Number;
using runtime::option;
using runtime::Text;
using runtime::usage_error;
using runtime::verb_rule;
using runtime::VerbRule;
using Rule = runtime::OptionRule<NodeCommand>;

constexpr auto kVerbs = std::to_array<VerbRule<NodeVerb>>({
    verb_rule(NodeVerb::Run, "run", "POD IMAGE [COMMAND...]",
              "start a container in a pod, which is made where there is none, and print its id"),
    verb_rule(NodeVerb::Pods, "pods", "", "print the pods"),
    verb_rule(NodeVerb::Containers, "containers", "", "print the containers"),
    verb_rule(NodeVerb::Inspect, "inspect", "NAME", "print what is known of a pod or container"),
    verb_rule(NodeVerb::Logs, "logs", "CONTAINER", "print what a container has written"),
    verb_rule(NodeVerb::Exec, "exec", "CONTAINER COMMAND...",
              "run a command in a container, and end with its status"),
    verb_rule(NodeVerb::Stop, "stop", "NAME...", "stop pods or containers"),
    verb_rule(NodeVerb::Remove, "remove", "NAME...", "remove pods or containers"),
    verb_rule(NodeVerb::Top, "top", "",
              "show what pods and containers use, until a key or ^C ends it"),
    verb_rule(NodeVerb::Doctor, "doctor", "",
              "print what this host lacks to run pods, and end with 0 where it lacks nothing"),
});
constexpr std::span<const VerbRule<NodeVerb>> kVerbRules = kVerbs;

Result<void> set_help(NodeCommand& command, std::string_view /*value*/) {
    command.topic = std::exchange(command.verb, NodeVerb::Help);
    return {};
}

Result<void> set_version(NodeCommand& command, std::string_view /*value*/) {
    command.verb = NodeVerb::Version;
    return {};
}

/// "8080:80"
struct Ports {
    static Result<void> parse(std::vector<Published>& into, std::string_view text) {
        constexpr std::uint64_t port_max = 65'535;
        const std::size_t colon = text.find(':');
        if (colon == std::string_view::npos) {
            return usage_error("must be HOST_PORT:CONTAINER_PORT");
        }
        const std::uint64_t host = TRY(runtime::parse_number(text.substr(0, colon), 1, port_max));
        const std::uint64_t inner = TRY(runtime::parse_number(text.substr(colon + 1), 1, port_max));
        into.push_back({.host = static_cast<std::uint16_t>(host),
                        .container = static_cast<std::uint16_t>(inner)});
        return {};
    }
    static void print(const std::vector<Published>& from, std::vector<std::string>& values) {
        for (const Published& one : from) {
            values.push_back(std::to_string(one.host) + ":" + std::to_string(one.container));
        }
    }
};

constexpr std::uint64_t kIntervalMax = 3600;

constexpr auto kOptions = std::to_array<Rule>({
    option<&NodeCommand::name, Text>({.name = "name",
                                      .value_name = "NAME",
                                      .help = "the container's (default: the image's last word)",
                                      .verbs = bit(NodeVerb::Run)}),
    option<&NodeCommand::published, Ports>(
        {.name = "publish",
         .letter = 'p',
         .value_name = "HOST:CONTAINER",
         .help = "a port of the host that is the pod's, where it is made",
         .verbs = bit(NodeVerb::Run)}),
    option<&NodeCommand::handler, Text>(
        {.name = "handler",
         .value_name = "NAME",
         .help = "of a pod that is made: pepita, pepita-kvm, pepita-tcg or pepita-process",
         .verbs = bit(NodeVerb::Run)}),
    option<&NodeCommand::logs, Text>({.name = "logs",
                                      .value_name = "DIRECTORY",
                                      .help = "of a pod that is made (default: /var/log/pods)",
                                      .verbs = bit(NodeVerb::Run)}),
    option<&NodeCommand::all, Flag>({.name = "all",
                                     .letter = 'a',
                                     .help = "also those that have ended",
                                     .verbs = bit(NodeVerb::Pods) | bit(NodeVerb::Containers)}),
    option<&NodeCommand::once, Flag>({.name = "once",
                                      .help = "print one table, as where no terminal is",
                                      .verbs = bit(NodeVerb::Top)}),
    option<&NodeCommand::interval_s, Number<1, kIntervalMax>>(
        {.name = "interval",
         .value_name = "SECONDS",
         .help = "that are measured, and between two tables (default: 2)",
         .verbs = bit(NodeVerb::Top)}),
    option<&NodeCommand::config, Text>(
        {.name = "config",
         .value_name = "FILE",
         .help = "pepita-cri's (default: /etc/pepita/pepita.json, where it exists)",
         .verbs = bit(NodeVerb::Doctor)}),
    option<&NodeCommand::socket, Text>({.name = "socket",
                                        .value_name = "PATH",
                                        .help = "pepita-cri's (default: /run/pepita/cri.sock)",
                                        .verbs = ~0U}),
    action<NodeCommand>({.name = "help", .letter = 'h', .help = "print this", .verbs = ~0U},
                        set_help),
    action<NodeCommand>(
        {.name = "version", .help = "print the version", .verbs = bit(NodeVerb::None)},
        set_version),
});
constexpr std::span<const Rule> kRules = kOptions;

/// How many words of a verb are not the command's.
std::size_t own_words(NodeVerb verb) {
    return verb == NodeVerb::Run ? 2 : verb == NodeVerb::Exec ? 1 : SIZE_MAX;
}

Result<void> check_words(const NodeCommand& command, const VerbRule<NodeVerb>& rule) {
    const std::size_t least = rule.arguments.empty()                                      ? 0
                              : rule.verb == NodeVerb::Run || rule.verb == NodeVerb::Exec ? 2
                                                                                          : 1;
    const std::size_t most =
        rule.arguments.find("...") != std::string_view::npos ? SIZE_MAX : least;
    if (command.words.size() < least) {
        return usage_error("needs " + std::string(rule.arguments));
    }
    if (command.words.size() > most) {
        return usage_error("unexpected argument '" + command.words[most] + "'");
    }
    return {};
}

}  // namespace

std::string_view to_string(NodeVerb verb) { return runtime::name_of(kVerbRules, verb); }

Result<void> parse_node_command_line(std::span<const std::string> arguments, NodeCommand& command) {
    if (arguments.empty()) {
        return usage_error("no command given; try --help");
    }
    const VerbRule<NodeVerb>* const rule = runtime::rule_named(kVerbRules, arguments.front());
    if (rule == nullptr) {
        TRY(apply_options(arguments.first(1), kRules, bit(NodeVerb::None), command));
        if (command.verb == NodeVerb::Help || command.verb == NodeVerb::Version) {
            return {};
        }
        return usage_error("unknown command '" + arguments.front() + "'; try --help");
    }
    command.verb = rule->verb;
    Result<std::vector<std::string>> words = apply_options(
        arguments.subspan(1), kRules, bit(rule->verb), command, own_words(rule->verb));
    if (command.verb == NodeVerb::Help) {
        return {};
    }
    command.words = TRY(std::move(words));
    return check_words(command, *rule);
}

std::string node_help_text(NodeVerb topic) {
    return runtime::help_of(
        kVerbRules, kRules, topic,
        {.program = "pepita",
         .what =
             "Runs pods, each a microVM, by asking pepita-cri. NAME and CONTAINER are names or\n"
             "the beginnings of ids. `pepita image` keeps images, `pepita storage` volumes.",
         .end = "Each command says more with --help."});
}

}  // namespace pepita::cri::cli
