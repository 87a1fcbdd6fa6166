#include "runtime/cli/option_table.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/rpc/options.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::uint64_t kMemoryMibMin = 64;
constexpr std::uint64_t kMemoryMibMax = 65'536;
constexpr std::uint64_t kVcpusMax = 8;
constexpr std::uint64_t kScratchMibMin = 16;
constexpr std::uint64_t kScratchMibMax = 65'536;  // it is memory
constexpr std::uint64_t kBootDeadlineMax = 3600;

constexpr std::array kLogFormats{Named{.name = "text", .value = Format::Text},
                                 Named{.name = "json", .value = Format::Json}};
constexpr std::array kListFormats{Named{.name = "table", .value = Format::Table},
                                  Named{.name = "json", .value = Format::Json}};
constexpr std::array kIsolations{Named<std::string_view>{.name = "kvm", .value = "kvm"},
                                 Named<std::string_view>{.name = "tcg", .value = "tcg"},
                                 Named<std::string_view>{.name = "auto", .value = "auto"}};

struct Variable {
    static Result<void> parse(std::string& into, std::string_view text) {
        if (text.find('=') == std::string_view::npos || text.starts_with('=')) {
            return usage_error("must be KEY=VALUE");
        }
        into = text;
        return {};
    }
    static void print(const std::string& from, std::vector<std::string>& values) {
        values.push_back(from);
    }
};

struct AbsolutePath {
    static Result<void> parse(std::string& into, std::string_view text) {
        if (!text.starts_with('/')) {
            return usage_error("must be an absolute path");
        }
        into = text;
        return {};
    }
    static constexpr auto print = Text::print;
};

struct User {
    static Result<void> parse(UserOption& into, std::string_view text) {
        const std::size_t colon = text.find(':');
        into.uid = TRY(parse_id(text.substr(0, colon)));
        if (colon != std::string_view::npos) {
            into.gid = TRY(parse_id(text.substr(colon + 1)));
        }
        return {};
    }
    static void print(const UserOption& from, std::vector<std::string>& values) {
        values.push_back(std::to_string(from.uid) +
                         (from.gid ? ":" + std::to_string(*from.gid) : ""));
    }

private:
    static Result<std::uint32_t> parse_id(std::string_view text) {
        return static_cast<std::uint32_t>(TRY(parse_number(text, 0, UserOption::kIdMax)));
    }
};

constexpr std::uint32_t kGlobal = bit(Verb::None);
constexpr std::uint32_t kMakes = bit(Verb::Run) | bit(Verb::Create);
constexpr std::uint32_t kExec = bit(Verb::Exec);

constexpr auto kOptions = std::to_array<OptionRule>({
    option<&Command::root, Text>({.name = "root",
                                  .value_name = "DIR",
                                  .help = "where containers' states are (default: /run/pepita)",
                                  .verbs = kGlobal}),
    option<&Command::data, Text>({.name = "data",
                                  .value_name = "DIR",
                                  .help = "where guests and kernels are (default: /var/lib/pepita)",
                                  .verbs = kGlobal}),
    option<&Command::isolation, Choice<kIsolations>>({.name = "isolation",
                                                      .value_name = "MODE",
                                                      .help = "kvm, tcg or auto (default: auto)",
                                                      .verbs = kGlobal}),
    option<&Command::shim, Text>(
        {.name = "shim",
         .value_name = "PATH",
         .help = "the pepita-shim to use (default: the one beside pepita-run)",
         .verbs = kGlobal}),
    option<&Command::log, Text>({.name = "log",
                                 .value_name = "FILE",
                                 .help = "append errors to FILE, too",
                                 .verbs = kGlobal}),
    option<&Command::log_format, Choice<kLogFormats>>({.name = "log-format",
                                                       .value_name = "FORMAT",
                                                       .help = "text or json (default: text)",
                                                       .verbs = kGlobal}),

    option<&Command::bundle, Text>({.name = "bundle",
                                    .letter = 'b',
                                    .value_name = "DIR",
                                    .help = "the bundle (default: the working directory)",
                                    .verbs = kMakes | bit(Verb::Spec)}),
    option<&Command::detach, Flag>({.name = "detach",
                                    .letter = 'd',
                                    .help = "return once the process is started",
                                    .verbs = bit(Verb::Run) | kExec}),
    option<&Command::pid_file, Text>(
        {.name = "pid-file",
         .value_name = "FILE",
         .help = "write the pid that stands for the process on the host",
         .verbs = kMakes | kExec}),
    option<&Command::console_socket, Text>(
        {.name = "console-socket",
         .value_name = "PATH",
         .help = "unix socket that is sent the terminal's master",
         .verbs = kMakes | kExec}),
    option<&Command::memory_mib, Number<kMemoryMibMin, kMemoryMibMax>>(
        {.name = "memory",
         .value_name = "MIB",
         .help = "the machine's memory (default: 512)",
         .verbs = kMakes}),
    option<&Command::vcpus, Number<1, kVcpusMax>>(
        {.name = "cpus",
         .value_name = "N",
         .help = "the machine's virtual CPUs, 1 to 8 (default: 1)",
         .verbs = kMakes}),
    option<&Command::scratch_mib, OrZero<Number<kScratchMibMin, kScratchMibMax>>>(
        {.name = "scratch",
         .value_name = "MIB",
         .help = "how much it may write; 0: memory takes it (default: 1024)",
         .verbs = kMakes}),
    option<&Command::boot_deadline_s, Number<1, kBootDeadlineMax>>(
        {.name = "boot-deadline",
         .value_name = "SECONDS",
         .help = "how long the guest may take to answer (default: 60)",
         .verbs = kMakes}),
    option<&Command::guest_console, Text>({.name = "guest-console",
                                           .value_name = "FILE",
                                           .help = "append what the guest's kernel says to FILE",
                                           .verbs = kMakes}),

    option<&Command::tty, Flag>(
        {.name = "tty", .letter = 't', .help = "give the process a terminal", .verbs = kExec}),
    option<&Command::env, List<Variable>>({.name = "env",
                                           .letter = 'e',
                                           .value_name = "KEY=VALUE",
                                           .help = "set in its environment; may be repeated",
                                           .verbs = kExec}),
    option<&Command::cwd, AbsolutePath>(
        {.name = "cwd", .value_name = "DIR", .help = "its working directory", .verbs = kExec}),
    option<&Command::user, Maybe<User>>({.name = "user",
                                         .letter = 'u',
                                         .value_name = "UID[:GID]",
                                         .help = "its user",
                                         .verbs = kExec}),
    option<&Command::process_file, Text>(
        {.name = "process",
         .letter = 'p',
         .value_name = "FILE",
         .help = "its OCI process object, in place of options and arguments",
         .verbs = kExec}),

    option<&Command::all, Flag>({.name = "all",
                                 .letter = 'a',
                                 .help = "every process of the container",
                                 .verbs = bit(Verb::Kill)}),
    option<&Command::force, Flag>({.name = "force",
                                   .letter = 'f',
                                   .help = "kill it first if it runs; no container is no error",
                                   .verbs = bit(Verb::Delete)}),
    option<&Command::quiet, Flag>(
        {.name = "quiet", .letter = 'q', .help = "names only", .verbs = bit(Verb::List)}),
    option<&Command::list_format, Choice<kListFormats>>({.name = "format",
                                                         .letter = 'f',
                                                         .value_name = "FORMAT",
                                                         .help = "table or json (default: table)",
                                                         .verbs = bit(Verb::List)}),
});

constexpr VerbRule verb(Verb which, std::string_view name, std::string_view arguments,
                        std::string_view help) {
    return {.verb = which, .name = name, .arguments = arguments, .help = help};
}

constexpr auto kVerbs = std::to_array<VerbRule>({
    verb(Verb::Run, "run", "ID", "make and start a container, and exit as it does"),
    verb(Verb::Create, "create", "ID", "make a container from a bundle"),
    verb(Verb::Start, "start", "ID", "start the process of a created container"),
    verb(Verb::Exec, "exec", "ID COMMAND [ARG...]", "run one more process in a container"),
    verb(Verb::Kill, "kill", "ID [SIGNAL]", "send a signal to a container (default: TERM)"),
    verb(Verb::Delete, "delete", "ID", "remove a stopped container"),
    verb(Verb::State, "state", "ID", "print the state of a container"),
    verb(Verb::List, "list", "", "print the containers below --root"),
    verb(Verb::Spec, "spec", "", "write a config.json to begin with"),
});

}  // namespace

std::span<const OptionRule> option_rules() { return kOptions; }
std::span<const VerbRule> verb_rules() { return kVerbs; }

std::string_view to_string(Verb verb) {
    for (const VerbRule& rule : kVerbs) {
        if (rule.verb == verb) {
            return rule.name;
        }
    }
    return "";
}

}  // namespace pepita::runtime::cli
