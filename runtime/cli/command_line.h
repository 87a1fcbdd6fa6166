#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"

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
    Spec,
    Help,
    Version,
};

std::string_view to_string(Verb verb);

enum class Format : std::uint8_t { Text, Table, Json };

struct UserOption {
    static constexpr std::uint64_t kIdMax = 0xffff'fffe;
    std::uint32_t uid = 0;
    std::optional<std::uint32_t> gid;
};

/// What the command line asked for; each verb reads its own part.
struct Command {
    Verb verb = Verb::None;
    Verb topic = Verb::None;  // Help: of which verb

    // Global.
    std::string root = "/run/pepita";
    std::string data = "/var/lib/pepita";
    std::string isolation = "auto";
    std::string shim;  // empty: found
    std::string log;   // empty: none
    Format log_format = Format::Text;

    std::string id;

    // run, create, exec, spec.
    std::string bundle = ".";
    std::string pid_file;
    std::string console_socket;
    bool detach = false;
    std::uint64_t memory_mib = 512;
    std::uint64_t vcpus = 1;
    std::uint64_t scratch_mib = 1024;  // 0: memory of the machine
    std::uint64_t boot_deadline_s = 60;
    std::string guest_console;  // empty: the guest has none

    // exec.
    bool tty = false;
    std::vector<std::string> env;
    std::string cwd;  // empty: the container's own
    std::optional<UserOption> user;
    std::string process_file;
    std::vector<std::string> args;

    // kill, delete, list.
    int signal = 15;
    bool all = false;
    bool force = false;
    bool quiet = false;
    Format list_format = Format::Table;
};

/// Reads the arguments after the program's name, with global options before the verb. Fills
/// `command` as far as it gets: its verb decides the exit status of a mistake after it.
/// Errors: InvalidArgument, in one line.
Result<void> parse_command_line(std::span<const std::string> arguments, Command& command);

/// The help text of a verb, or of the program (None).
std::string help_text(Verb topic);

/// "TERM", "SIGTERM", "term" or "15" to 15, on x86-64.
Result<int> parse_signal(std::string_view text);

}  // namespace pepita::runtime::cli
