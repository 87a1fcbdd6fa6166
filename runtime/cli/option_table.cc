#include "runtime/cli/option_table.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/oci/names.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/json.h"
#include "runtime/rpc/options.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::array kLogFormats{Named{.name = "text", .value = LogFormat::Text},
                                 Named{.name = "json", .value = LogFormat::Json}};
constexpr std::array kListFormats{Named{.name = "table", .value = Format::Table},
                                  Named{.name = "json", .value = Format::Json}};

struct Isolation {
    static Result<void> parse(IsolationChoice& into, std::string_view text) {
        const auto choice = isolation_choice(text);
        if (!choice) {
            return usage_error("must be kvm, tcg, process or auto");
        }
        into = *choice;
        return {};
    }
    static void print(IsolationChoice from, std::vector<std::string>& values) {
        for (const std::string_view name : {"kvm", "tcg", "process", "auto"}) {
            if (isolation_choice(name) == from) {
                values.emplace_back(name);
            }
        }
    }
};

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

struct AbsolutePath : Text {
    static Result<void> parse(std::string& into, std::string_view text) {
        if (!text.starts_with('/')) {
            return usage_error("must be an absolute path");
        }
        into = text;
        return {};
    }
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

struct Group : Number<0, UserOption::kIdMax> {};

struct Capability {
    static Result<void> parse(std::uint64_t& into, std::string_view text) {
        const auto number = oci::capability_number(text);
        if (!number) {
            return usage_error("no such capability: " + oci::in_quotes(text));
        }
        into |= std::uint64_t{1} << *number;
        return {};
    }
    static void print(std::uint64_t from, std::vector<std::string>& values) {
        for (std::uint32_t number = 0; number < 64; ++number) {
            const auto name = oci::capability_name(number);
            if (name && (from >> number & 1U) != 0) {
                values.emplace_back(*name);
            }
        }
    }
};

/// A number that may be less than 0, as "-1" for no limit.
struct Integer {
    static Result<void> parse(std::int64_t& into, std::string_view text) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
        if (error != std::errc() || end != text.data() + text.size()) {
            return usage_error("must be a whole number");
        }
        return {};
    }
    static void print(std::int64_t from, std::vector<std::string>& values) {
        values.push_back(std::to_string(from));
    }
};

/// Bytes as runc takes them: "-1", "1024", "64m", "1g", "2MiB".
struct Size : Integer {
    static Result<void> parse(std::int64_t& into, std::string_view text) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
        std::string_view suffix = text.substr(static_cast<std::size_t>(end - text.data()));
        constexpr std::string_view units = "bkmgtp";
        unsigned shift = 0;
        if (!suffix.empty()) {
            const std::size_t unit = units.find(static_cast<char>(suffix.front() | 0x20));
            const std::string_view rest = suffix.substr(1);
            const bool is_known =
                rest.empty() || (unit != 0 && (rest == "b" || rest == "B" || rest == "iB"));
            if (unit == std::string_view::npos || !is_known) {
                return refuse();
            }
            shift = static_cast<unsigned>(unit) * 10;
        }
        if (error != std::errc() || into < -1 || (into == -1 && shift != 0) ||
            into > (INT64_MAX >> shift)) {
            return refuse();
        }
        into = into < 0 ? into : into << shift;
        return {};
    }

private:
    static Error refuse() { return usage_error("must be a size such as 64m, or -1"); }
};

struct Seconds {
    static Result<void> parse(std::chrono::milliseconds& into, std::string_view text) {
        constexpr std::uint64_t most = 86'400;
        const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
        const std::string_view unit = text.substr(digits);
        const std::uint64_t number = TRY(parse_number(text.substr(0, digits), 1, most));
        if (unit == "ms") {
            into = std::chrono::milliseconds(number);
        } else if (unit.empty() || unit == "s") {
            into = std::chrono::seconds(number);
        } else {
            return usage_error("must be a time such as 5s or 500ms");
        }
        return {};
    }
    static void print(std::chrono::milliseconds from, std::vector<std::string>& values) {
        values.push_back(std::to_string(from.count()) + "ms");
    }
};

Result<void> accept_no_schema(Command& /*command*/, std::string_view value) {
    if (!value.empty()) {
        return usage_error("is not supported: the guest has no resctrl");
    }
    return {};
}

// Options of runc's callers that ask for nothing where the container is in a machine of its own, or
// that cannot be done: the help text says so.

Result<void> accept(Command& /*command*/, std::string_view /*value*/) { return {}; }

Result<void> refuse_rootless(Command& /*command*/, std::string_view /*value*/) {
    return usage_error("is not supported: a microVM needs root on the host");
}

Result<void> accept_not_rootless(Command& command, std::string_view value) {
    if (value == "false" || value == "auto") {
        return {};
    }
    return value == "true" ? refuse_rootless(command, value)
                           : usage_error("must be true, false or auto");
}

Result<void> accept_no_descriptors(Command& /*command*/, std::string_view value) {
    constexpr std::uint64_t count_max = 1U << 20U;
    if (TRY(parse_number(value, 0, count_max)) != 0) {
        return usage_error("is not supported: descriptors of the host do not reach into a guest");
    }
    return {};
}

Result<void> accept_no_label(Command& /*command*/, std::string_view value) {
    if (!value.empty()) {
        return usage_error("is not supported: the guest has no security module");
    }
    return {};
}

Result<void> accept_top_cgroup(Command& /*command*/, std::string_view value) {
    const std::string_view path = value.substr(value.find(':') + 1);  // [CONTROLLER:]PATH
    if (!path.empty() && path != "/") {
        return usage_error("is not supported: a container has one cgroup");
    }
    return {};
}

constexpr OptionRule without_effect(std::string_view name, std::string_view value_name,
                                    std::uint32_t verbs) {
    return action<Command>({.name = name,
                            .value_name = value_name,
                            .help = "accepted, and without effect",
                            .verbs = verbs},
                           accept);
}

constexpr std::uint32_t kGlobal = bit(Verb::None);
constexpr std::uint32_t kMakes = bit(Verb::Run) | bit(Verb::Create);
constexpr std::uint32_t kExec = bit(Verb::Exec);

template <auto Inner>
using OfPod = Member<&Command::pod, Inner>;

constexpr std::uint32_t kUpdate = bit(Verb::Update);

template <auto Inner, typename Codec>
constexpr OptionRule resource(std::string_view name, std::string_view value_name,
                              std::string_view help) {
    return option<Member<&Command::resources, Inner>, Maybe<Codec>>(
        {.name = name, .value_name = value_name, .help = help, .verbs = kUpdate});
}

constexpr auto kOptions = std::to_array<OptionRule>({
    option<&Command::root, Text>({.name = "root",
                                  .value_name = "DIR",
                                  .help = "where containers' states are (default: /run/pepita)",
                                  .verbs = kGlobal}),
    option<OfPod<&PodSpec::data>, Text>(
        {.name = "data",
         .value_name = "DIR",
         .help = "where guests and kernels are (default: /var/lib/pepita)",
         .verbs = kGlobal}),
    option<OfPod<&PodSpec::isolation>, Isolation>(
        {.name = "isolation",
         .value_name = "MODE",
         .help = "kvm, tcg, process or auto (default: auto)",
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
    option<OfPod<&PodSpec::log_format>, Choice<kLogFormats>>(
        {.name = "log-format",
         .value_name = "FORMAT",
         .help = "text or json (default: text)",
         .verbs = kGlobal}),
    action<Command>({.name = "rootless",
                     .value_name = "MODE",
                     .help = "false or auto; true is refused",
                     .verbs = kGlobal},
                    accept_not_rootless),
    without_effect("debug", "", kGlobal),
    without_effect("systemd-cgroup", "", kGlobal),
    without_effect("criu", "PATH", kGlobal),

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
    option<&Command::pidfd_socket, Text>(
        {.name = "pidfd-socket",
         .value_name = "PATH",
         .help = "unix socket that is sent a pidfd of the process in the pid file",
         .verbs = kMakes | kExec}),
    action<Command>({.name = "preserve-fds",
                     .value_name = "N",
                     .help = "0; more are refused",
                     .verbs = kMakes | kExec},
                    accept_no_descriptors),
    option<&Command::keep, Flag>({.name = "keep",
                                  .help = "keep the stopped container until it is deleted",
                                  .verbs = bit(Verb::Run)}),
    action<Command>({.name = "rootless", .help = "refused", .verbs = bit(Verb::Spec)},
                    refuse_rootless),
    without_effect("no-pivot", "", kMakes),
    without_effect("no-new-keyring", "", kMakes),
    without_effect("no-subreaper", "", bit(Verb::Run)),
    option<OfPod<&PodSpec::memory_mib>, Number<PodSpec::kMemoryMibMin, PodSpec::kMemoryMibMax>>(
        {.name = "memory",
         .value_name = "MIB",
         .help = "what the pod's containers may use together (default: 512)",
         .verbs = kMakes}),
    option<OfPod<&PodSpec::memory_max_mib>, Number<PodSpec::kMemoryMibMin, PodSpec::kMemoryMibMax>>(
        {.name = "memory-max",
         .value_name = "MIB",
         .help = "how far that may grow by updates (default: 2048)",
         .verbs = kMakes}),
    option<OfPod<&PodSpec::vcpus>, Number<PodSpec::kVcpusMin, PodSpec::kVcpusMax>>(
        {.name = "cpus",
         .value_name = "N",
         .help = "the pod's virtual CPUs, 1 to 8 (default: 1)",
         .verbs = kMakes}),
    option<OfPod<&PodSpec::vcpus_max>, Number<PodSpec::kVcpusMin, PodSpec::kVcpusMax>>(
        {.name = "cpus-max",
         .value_name = "N",
         .help = "how far they may grow by updates (default: 4)",
         .verbs = kMakes}),
    option<OfPod<&PodSpec::packs_roots>, Flag>(
        {.name = "root-disk",
         .help = "pack the root into a disk: faster, and what is written there is lost",
         .verbs = kMakes}),
    option<OfPod<&PodSpec::scratch_mib>,
           OrZero<Number<PodSpec::kScratchMibMin, PodSpec::kScratchMibMax>>>(
        {.name = "scratch",
         .value_name = "MIB",
         .help = "how much it may write with --root-disk; 0: memory takes it (default: 1024)",
         .verbs = kMakes}),
    option<OfPod<&PodSpec::boot_deadline>,
           Number<PodSpec::kBootDeadlineMin.count(), PodSpec::kBootDeadlineMax.count()>>(
        {.name = "boot-deadline",
         .value_name = "SECONDS",
         .help = "how long the guest may take to answer (default: 60)",
         .verbs = kMakes}),
    option<OfPod<&PodSpec::guest_console>, Text>(
        {.name = "guest-console",
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
    option<&Command::additional_gids, List<Group>>({.name = "additional-gids",
                                                    .letter = 'g',
                                                    .value_name = "GID",
                                                    .help = "one more group; may be repeated",
                                                    .verbs = kExec}),
    option<&Command::capabilities, Capability>({.name = "cap",
                                                .letter = 'c',
                                                .value_name = "CAP",
                                                .help = "one more capability; may be repeated",
                                                .verbs = kExec}),
    option<&Command::no_new_privileges, Flag>(
        {.name = "no-new-privs", .help = "it can gain no privileges by execve", .verbs = kExec}),
    action<Command>({.name = "apparmor",
                     .value_name = "PROFILE",
                     .help = "refused: the guest has no AppArmor",
                     .verbs = kExec},
                    accept_no_label),
    action<Command>({.name = "process-label",
                     .value_name = "LABEL",
                     .help = "refused: the guest has no SELinux",
                     .verbs = kExec},
                    accept_no_label),
    action<Command>(
        {.name = "cgroup", .value_name = "PATH", .help = "/; others are refused", .verbs = kExec},
        accept_top_cgroup),
    without_effect("ignore-paused", "", kExec),
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
                                                         .verbs = bit(Verb::List) | bit(Verb::Ps)}),

    option<Member<&Command::resources, &ResourceOptions::file>, Text>(
        {.name = "resources",
         .letter = 'r',
         .value_name = "FILE",
         .help = "an OCI linux.resources object, in place of the rest; -: standard input",
         .verbs = kUpdate}),
    resource<&ResourceOptions::memory, Size>("memory", "SIZE",
                                             "how much it may have; -1: no limit"),
    resource<&ResourceOptions::memory_reservation, Size>("memory-reservation", "SIZE",
                                                         "how much is taken from it last"),
    resource<&ResourceOptions::memory_swap, Size>("memory-swap", "SIZE",
                                                  "memory and swap together; -1: no limit"),
    resource<&ResourceOptions::cpu_shares, Integer>("cpu-share", "N", "its share of the CPUs"),
    resource<&ResourceOptions::cpu_quota, Integer>("cpu-quota", "US",
                                                   "CPU time in each period; -1: no limit"),
    resource<&ResourceOptions::cpu_period, Integer>("cpu-period", "US", "that period"),
    resource<&ResourceOptions::cpu_burst, Integer>("cpu-burst", "US", "quota that may be saved up"),
    resource<&ResourceOptions::cpu_realtime_period, Integer>("cpu-rt-period", "US",
                                                             "of realtime tasks"),
    resource<&ResourceOptions::cpu_realtime_runtime, Integer>("cpu-rt-runtime", "US",
                                                              "of realtime tasks"),
    resource<&ResourceOptions::cpu_idle, Integer>("cpu-idle", "0|1", "only when others are idle"),
    resource<&ResourceOptions::cpus, Text>("cpuset-cpus", "LIST", "the CPUs it may use"),
    resource<&ResourceOptions::mems, Text>("cpuset-mems", "LIST", "the memory nodes it may use"),
    resource<&ResourceOptions::pids, Integer>("pids-limit", "N",
                                              "how many tasks it may have; -1: no limit"),
    resource<&ResourceOptions::io_weight, Integer>("blkio-weight", "N", "its share of the disks"),
    without_effect("kernel-memory", "SIZE", kUpdate),
    without_effect("kernel-memory-tcp", "SIZE", kUpdate),
    action<Command>({.name = "l3-cache-schema",
                     .value_name = "TEXT",
                     .help = "refused: the guest has no resctrl",
                     .verbs = kUpdate},
                    accept_no_schema),
    action<Command>({.name = "mem-bw-schema",
                     .value_name = "TEXT",
                     .help = "refused: the guest has no resctrl",
                     .verbs = kUpdate},
                    accept_no_schema),
    option<&Command::stats, Flag>(
        {.name = "stats", .help = "print what it has used, once", .verbs = bit(Verb::Events)}),
    option<&Command::interval, Seconds>({.name = "interval",
                                         .value_name = "TIME",
                                         .help = "between two prints (default: 5s)",
                                         .verbs = bit(Verb::Events)}),
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
    verb(Verb::Pause, "pause", "ID", "stop every process of a container"),
    verb(Verb::Resume, "resume", "ID", "have a paused container go on"),
    verb(Verb::Ps, "ps", "ID [PS OPTION...]", "print the processes that stand for a container's"),
    verb(Verb::Update, "update", "ID", "change the limits of a container"),
    verb(Verb::Events, "events", "ID", "print what a container uses, again and again"),
    verb(Verb::Spec, "spec", "", "write a config.json to begin with"),
    verb(Verb::Features, "features", "", "print what is supported, as OCI's features.md"),
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
