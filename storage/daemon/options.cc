#include "storage/daemon/options.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/cli/option_rules.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {
namespace {

using cli::OptionRule;
using cli::usage_error;

constexpr std::uint64_t kColdAfterMax = 7ULL * 24 * 3600;  // a week, in seconds

template <std::string Options::* Member>
Result<void> set_path(Options& options, std::string_view value) {
    if (value.empty()) {
        return usage_error("must not be empty");
    }
    options.*Member = value;
    return {};
}

Result<void> set_memory_limit(Options& options, std::string_view value) {
    options.memory_limit = Bytes(TRY(cli::parse_number(value, ZramStore::kLimitMin.value() >> 20U,
                                                       ZramStore::kLimitMax.value() >> 20U))
                                 << 20U);
    return {};
}

Result<void> set_cold_after(Options& options, std::string_view value) {
    options.cold_after = std::chrono::seconds(TRY(cli::parse_number(value, 1, kColdAfterMax)));
    return {};
}

Result<void> set_log_format(Options& options, std::string_view value) {
    if (value != "text" && value != "json") {
        return usage_error("must be text or json");
    }
    options.logs_json = value == "json";
    return {};
}

Result<void> set_purge(Options& options, std::string_view /*value*/) {
    options.purge = true;
    return {};
}

template <Options::Action Action>
Result<void> set_action(Options& options, std::string_view /*value*/) {
    options.action = Action;
    return {};
}

constexpr auto kRules = std::to_array<OptionRule<Options>>({
    cli::option<Options>("--socket", "PATH",
                         "where clients are served (default: /run/pepita/storage/storage.sock)", 1,
                         set_path<&Options::socket>),
    cli::option<Options>("--memory-file", "PATH",
                         "file of a tmpfs that holds the volumes (default: beside the socket)", 1,
                         set_path<&Options::memory_file>),
    cli::option<Options>("--memory-limit", "MIB",
                         "what a new memory file may take, all told (default: 1024)", 1,
                         set_memory_limit),
    cli::option<Options>("--state", "DIR",
                         "where the list of volumes is (default: /var/lib/pepita/storage)", 1,
                         set_path<&Options::state>),
    cli::option<Options>("--metrics", "FILE",
                         "write Prometheus' text format there, every 15 seconds", 1,
                         set_path<&Options::metrics>),
    cli::option<Options>("--cold-after", "SECONDS",
                         "pack what nobody used for so long smaller, with zstd (default: never)", 1,
                         set_cold_after),
    cli::option<Options>("--log-format", "FORMAT", "text or json (default: text)", 1,
                         set_log_format),
    cli::option<Options>("--purge", "", "remove the volumes in memory when it ends in order", 1,
                         set_purge),
    cli::option<Options>("--help", "", "print this", 1, set_action<Options::Action::Help>),
    cli::option<Options>("--version", "", "print the version", 1,
                         set_action<Options::Action::Version>),
});

}  // namespace

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) {
        return ".";
    }
    return slash == 0 ? "/" : path.substr(0, slash);
}

Result<Options> parse_options(std::span<const std::string> arguments) {
    Options options;
    const auto rest = TRY(
        cli::apply_options(arguments, std::span<const OptionRule<Options>>(kRules), 1, options));
    if (!rest.empty()) {
        return usage_error("unexpected argument '" + rest.front() + "'");
    }
    if (options.memory_file.empty()) {
        options.memory_file = directory_of(options.socket) + "/memory";
    }
    return options;
}

std::string help_text() {
    std::string text =
        "Usage: pepita-storage [OPTION...]\n\n"
        "Keeps a node's volumes in compressed memory and in files, and serves them as\n"
        "block devices. SIGTERM ends it in order.\n\n";
    cli::append_help(text, std::span<const OptionRule<Options>>(kRules), 1);
    return text;
}

}  // namespace pepita::storage::daemon
