#include "runtime/cli/option_table.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/rpc/options.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::uint64_t kMemoryMibMin = 64;
constexpr std::uint64_t kMemoryMibMax = 1U << 20U;  // a tebibyte
constexpr std::uint64_t kVcpusMax = 8;
constexpr std::uint64_t kScratchMibMin = 16;
constexpr std::uint64_t kScratchMibMax = 65'536;  // it is memory
constexpr std::uint64_t kBootDeadlineMax = 3600;
constexpr std::uint64_t kIdMax = 0xffff'fffe;

template <std::string Command::* Member>
Result<void> set_text(Command& command, std::string_view value) {
    if (value.empty()) {
        return usage_error("must not be empty");
    }
    command.*Member = value;
    return {};
}

template <bool Command::* Member>
Result<void> set_flag(Command& command, std::string_view /*value*/) {
    command.*Member = true;
    return {};
}

Result<void> set_isolation(Command& command, std::string_view value) {
    if (value != "kvm" && value != "tcg" && value != "auto") {
        return usage_error("must be kvm, tcg or auto");
    }
    command.isolation = value;
    return {};
}

Result<void> set_log_format(Command& command, std::string_view value) {
    if (value != "text" && value != "json") {
        return usage_error("must be text or json");
    }
    command.log_format = value == "json" ? Format::Json : Format::Text;
    return {};
}

Result<void> set_list_format(Command& command, std::string_view value) {
    if (value != "table" && value != "json") {
        return usage_error("must be table or json");
    }
    command.list_format = value == "json" ? Format::Json : Format::Table;
    return {};
}

Result<void> set_memory(Command& command, std::string_view value) {
    command.memory_mib = TRY(parse_number(value, kMemoryMibMin, kMemoryMibMax));
    return {};
}

Result<void> set_vcpus(Command& command, std::string_view value) {
    command.vcpus = TRY(parse_number(value, 1, kVcpusMax));
    return {};
}

Result<void> set_scratch(Command& command, std::string_view value) {
    if (value == "0") {
        command.scratch_mib = 0;
        return {};
    }
    const Result<std::uint64_t> mib = parse_number(value, kScratchMibMin, kScratchMibMax);
    if (!mib) {
        return usage_error(mib.error().message() + ", or 0");
    }
    command.scratch_mib = *mib;
    return {};
}

Result<void> set_boot_deadline(Command& command, std::string_view value) {
    command.boot_deadline_s = TRY(parse_number(value, 1, kBootDeadlineMax));
    return {};
}

Result<void> add_env(Command& command, std::string_view value) {
    if (value.find('=') == std::string_view::npos || value.starts_with('=')) {
        return usage_error("must be KEY=VALUE");
    }
    command.env.emplace_back(value);
    return {};
}

Result<void> set_cwd(Command& command, std::string_view value) {
    if (!value.starts_with('/')) {
        return usage_error("must be an absolute path");
    }
    command.cwd = value;
    return {};
}

Result<void> set_user(Command& command, std::string_view value) {
    const std::size_t colon = value.find(':');
    UserOption user;
    user.uid = static_cast<std::uint32_t>(TRY(parse_number(value.substr(0, colon), 0, kIdMax)));
    if (colon != std::string_view::npos) {
        user.gid =
            static_cast<std::uint32_t>(TRY(parse_number(value.substr(colon + 1), 0, kIdMax)));
    }
    command.user = user;
    return {};
}

constexpr std::uint32_t kGlobal = bit(Verb::None);
constexpr std::uint32_t kMakes = bit(Verb::Run) | bit(Verb::Create);
constexpr std::uint32_t kExec = bit(Verb::Exec);

// NOLINTNEXTLINE(readability-identifier-naming): a function
constexpr auto option = option_rule<Command>;

constexpr auto kOptions = std::to_array<OptionRule>({
    option("root", 0, "DIR", "where containers' states are (default: /run/pepita)", kGlobal,
           set_text<&Command::root>),
    option("data", 0, "DIR", "where guests and kernels are (default: /var/lib/pepita)", kGlobal,
           set_text<&Command::data>),
    option("isolation", 0, "MODE", "kvm, tcg or auto (default: auto)", kGlobal, set_isolation),
    option("shim", 0, "PATH", "the pepita-shim to use (default: the one beside pepita-run)",
           kGlobal, set_text<&Command::shim>),
    option("log", 0, "FILE", "append errors to FILE, too", kGlobal, set_text<&Command::log>),
    option("log-format", 0, "FORMAT", "text or json (default: text)", kGlobal, set_log_format),

    option("bundle", 'b', "DIR", "the bundle (default: the working directory)",
           kMakes | bit(Verb::Spec), set_text<&Command::bundle>),
    option("detach", 'd', "", "return once the process is started", bit(Verb::Run) | kExec,
           set_flag<&Command::detach>),
    option("pid-file", 0, "FILE", "write the pid that stands for the process on the host",
           kMakes | kExec, set_text<&Command::pid_file>),
    option("console-socket", 0, "PATH", "unix socket that is sent the terminal's master",
           kMakes | kExec, set_text<&Command::console_socket>),
    option("memory", 0, "MIB", "the machine's memory (default: 512)", kMakes, set_memory),
    option("cpus", 0, "N", "the machine's virtual CPUs, 1 to 8 (default: 1)", kMakes, set_vcpus),
    option("scratch", 0, "MIB", "how much it may write; 0: memory takes it (default: 1024)", kMakes,
           set_scratch),
    option("boot-deadline", 0, "SECONDS", "how long the guest may take to answer (default: 60)",
           kMakes, set_boot_deadline),
    option("guest-console", 0, "FILE", "append what the guest's kernel says to FILE", kMakes,
           set_text<&Command::guest_console>),

    option("tty", 't', "", "give the process a terminal", kExec, set_flag<&Command::tty>),
    option("env", 'e', "KEY=VALUE", "set in its environment; may be repeated", kExec, add_env),
    option("cwd", 0, "DIR", "its working directory", kExec, set_cwd),
    option("user", 'u', "UID[:GID]", "its user", kExec, set_user),
    option("process", 'p', "FILE", "its OCI process object, in place of options and arguments",
           kExec, set_text<&Command::process_file>),

    option("all", 'a', "", "every process of the container", bit(Verb::Kill),
           set_flag<&Command::all>),
    option("force", 'f', "", "kill it first if it runs; no container is no error",
           bit(Verb::Delete), set_flag<&Command::force>),
    option("quiet", 'q', "", "names only", bit(Verb::List), set_flag<&Command::quiet>),
    option("format", 'f', "FORMAT", "table or json (default: table)", bit(Verb::List),
           set_list_format),
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
