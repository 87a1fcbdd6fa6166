#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"

namespace pepita::runtime::cli {

enum class Verb : std::uint8_t {
    None,
    Run,
    Create,
    Start,
    Exec,
    Kill,
    Delete,
    State,
    List,
    Pause,
    Resume,
    Ps,
    Update,
    Events,
    Spec,
    Features,
    Help,
    Version,
};

std::string_view to_string(Verb verb);

enum class Format : std::uint8_t { Table, Json };

struct UserOption {
    static constexpr std::uint64_t kIdMax = 0xffff'fffe;
    std::uint32_t uid = 0;
    std::optional<std::uint32_t> gid;
};

/// What update changes: OCI's `linux.resources`, in its units; and runc's options for it.
struct ResourceOptions {
    std::string file;  // a `linux.resources` object in place of all below; "-": standard input
    std::optional<std::int64_t> memory;
    std::optional<std::int64_t> memory_reservation;
    std::optional<std::int64_t> memory_swap;
    std::optional<std::int64_t> cpu_shares;
    std::optional<std::int64_t> cpu_quota;
    std::optional<std::int64_t> cpu_period;
    std::optional<std::int64_t> cpu_burst;
    std::optional<std::int64_t> cpu_realtime_period;
    std::optional<std::int64_t> cpu_realtime_runtime;
    std::optional<std::int64_t> cpu_idle;
    std::optional<std::string> cpus;
    std::optional<std::string> mems;
    std::optional<std::int64_t> pids;
    std::optional<std::int64_t> io_weight;
};

/// What the command line asked for; each verb reads its own part.
struct Command {
    Verb verb = Verb::None;
    Verb topic = Verb::None;  // Help: of which verb

    // Global.
    std::string root = PodSpec().root;
    std::string shim;  // empty: found
    std::string log;   // empty: none
    PodSpec pod;       // as far as options say; its name and root are filled in from the above

    std::string id;

    // run, create, exec, spec.
    std::string bundle = ".";
    std::string pid_file;
    std::string console_socket;
    std::string pidfd_socket;
    bool keep = false;
    bool detach = false;

    // exec.
    bool tty = false;
    std::vector<std::string> env;
    std::string cwd;  // empty: the container's own
    std::optional<UserOption> user;
    std::vector<std::uint32_t> additional_gids;
    std::uint64_t capabilities = 0;  // bit n: capability number n of Linux
    bool no_new_privileges = false;
    std::string process_file;
    std::vector<std::string> args;  // of ps, too

    // kill, delete, list.
    int signal = 15;  // 0: none, only look whether there is a process
    bool all = false;
    bool force = false;
    bool quiet = false;
    Format list_format = Format::Table;  // of ps, too

    // update, events.
    ResourceOptions resources;
    bool stats = false;
    std::chrono::milliseconds interval{5000};
};

/// Reads the arguments after the program's name, with global options before the verb. Fills
/// `command` as far as it gets: its verb decides the exit status of a mistake after it.
/// Errors: InvalidArgument, in one line.
Result<void> parse_command_line(std::span<const std::string> arguments, Command& command);

/// The help text of a verb, or of the program (None).
std::string help_text(Verb topic);

/// "TERM", "SIGTERM", "term" or "15" to 15, on x86-64; "" is TERM, as for runc. Names are those of
/// kill(1): CLD, IOT and POLL, and RTMIN+n and RTMAX-n as glibc counts (RTMIN is 34).
Result<int> parse_signal(std::string_view text);

}  // namespace pepita::runtime::cli
