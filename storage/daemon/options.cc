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
#include "runtime/rpc/options.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {
namespace {

using runtime::usage_error;
using Rule = runtime::OptionRule<Options>;

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
    options.memory_limit =
        Bytes(TRY(runtime::parse_number(value, ZramStore::kLimitMin.value() >> 20U,
                                        ZramStore::kLimitMax.value() >> 20U))
              << 20U);
    return {};
}

Result<void> set_cold_after(Options& options, std::string_view value) {
    options.cold_after = std::chrono::seconds(TRY(runtime::parse_number(value, 1, kColdAfterMax)));
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

constexpr std::uint32_t kAlways = 1;

// NOLINTNEXTLINE(readability-identifier-naming): a function
constexpr auto option = runtime::option_rule<Options>;

constexpr auto kOptions = std::to_array<Rule>({
    option("socket", 0, "PATH",
           "where clients are served (default: /run/pepita/storage/storage.sock)", kAlways,
           set_path<&Options::socket>),
    option("memory-file", 0, "PATH",
           "file of a tmpfs that holds the volumes (default: beside the socket)", kAlways,
           set_path<&Options::memory_file>),
    option("memory-limit", 0, "MIB", "what a new memory file may take, all told (default: 1024)",
           kAlways, set_memory_limit),
    option("state", 0, "DIR", "where the list of volumes is (default: /var/lib/pepita/storage)",
           kAlways, set_path<&Options::state>),
    option("metrics", 0, "FILE", "write Prometheus' text format there, every 15 seconds", kAlways,
           set_path<&Options::metrics>),
    option("cold-after", 0, "SECONDS",
           "pack what nobody used for so long smaller, with zstd (default: never)", kAlways,
           set_cold_after),
    option("log-format", 0, "FORMAT", "text or json (default: text)", kAlways, set_log_format),
    option("purge", 0, "", "remove the volumes in memory when it ends in order", kAlways,
           set_purge),
    option("help", 'h', "", "print this", kAlways, set_action<Options::Action::Help>),
    option("version", 0, "", "print the version", kAlways, set_action<Options::Action::Version>),
});
constexpr std::span<const Rule> kRules = kOptions;

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
    const auto rest = TRY(runtime::apply_options(arguments, kRules, kAlways, options));
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
    runtime::append_help(text, kRules, kAlways);
    return text;
}

}  // namespace pepita::storage::daemon
