#include "storage/daemon/options.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/options.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {
namespace {

using runtime::action;
using runtime::Choice;
using runtime::Flag;
using runtime::Mebibytes;
using runtime::Named;
using runtime::Number;
using runtime::option;
using runtime::Text;
using runtime::to_mebibytes;
using Rule = runtime::OptionRule<Options>;

constexpr std::array kLogFormats{Named{.name = "text", .value = false},
                                 Named{.name = "json", .value = true}};

template <Options::Action Action>
Result<void> set_action(Options& options, std::string_view /*value*/) {
    options.action = Action;
    return {};
}

/// 0, never, is the default and cannot be written.
struct ColdAfter : Number<1, Options::kColdAfterMax.count()> {
    static void print(std::chrono::seconds from, std::vector<std::string>& values) {
        if (from.count() != 0) {
            Number::print(from, values);
        }
    }
};

constexpr auto kOptions = std::to_array<Rule>({
    option<&Options::socket, Text>(
        {.name = "socket",
         .value_name = "PATH",
         .help = "where clients are served (default: /run/pepita/storage/storage.sock)"}),
    option<&Options::memory_file, Text>(
        {.name = "memory-file",
         .value_name = "PATH",
         .help = "file of a tmpfs that holds the volumes (default: beside the socket)"}),
    option<&Options::memory_limit,
           Mebibytes<to_mebibytes(ZramStore::kLimitMin), to_mebibytes(ZramStore::kLimitMax)>>(
        {.name = "memory-limit",
         .value_name = "MIB",
         .help = "what a new memory file may take, all told (default: 1024)"}),
    option<&Options::state, Text>(
        {.name = "state",
         .value_name = "DIR",
         .help = "where the list of volumes is (default: /var/lib/pepita/storage)"}),
    option<&Options::metrics, Text>(
        {.name = "metrics",
         .value_name = "FILE",
         .help = "write Prometheus' text format there, every 15 seconds"}),
    option<&Options::cold_after, ColdAfter>(
        {.name = "cold-after",
         .value_name = "SECONDS",
         .help = "pack what nobody used for so long smaller, with zstd (default: never)"}),
    option<&Options::logs_json, Choice<kLogFormats>>(
        {.name = "log-format", .value_name = "FORMAT", .help = "text or json (default: text)"}),
    option<&Options::purge, Flag>(
        {.name = "purge", .help = "remove the volumes in memory when it ends in order"}),
    action<Options>({.name = "help", .letter = 'h', .help = "print this"},
                    set_action<Options::Action::Help>),
    action<Options>({.name = "version", .help = "print the version"},
                    set_action<Options::Action::Version>),
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
    TRY(runtime::parse_options(arguments, kRules, options));
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
    runtime::append_help(text, kRules, ~0U);
    return text;
}

}  // namespace pepita::storage::daemon
