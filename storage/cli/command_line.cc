#include "storage/cli/command_line.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/options.h"
#include "runtime/rpc/quantities.h"
#include "runtime/rpc/verb_table.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::cli {
namespace {

using runtime::action;
using runtime::apply_options;
using runtime::bit;
using runtime::Choice;
using runtime::Flag;
using runtime::help_of;
using runtime::Member;
using runtime::name_of;
using runtime::Named;
using runtime::Number;
using runtime::option;
using runtime::parse_size;
using runtime::rule_named;
using runtime::Size;
using runtime::Text;
using runtime::usage_error;
using runtime::verb_rule;
using runtime::VerbRule;
using Rule = runtime::OptionRule<Command>;

constexpr auto kVerbs = std::to_array<VerbRule<Verb>>({
    verb_rule(Verb::Create, "create", "NAME", "make a volume"),
    verb_rule(Verb::Attach, "attach", "NAME",
              "serve a volume, and print the path of its device or socket"),
    verb_rule(Verb::Detach, "detach", "NAME", "end serving a volume"),
    verb_rule(Verb::Resize, "resize", "NAME SIZE",
              "give a volume another size; attached ones only grow"),
    verb_rule(Verb::Snapshot, "snapshot", "NAME FILE", "write what a volume holds to a file"),
    verb_rule(Verb::Restore, "restore", "NAME FILE", "have a volume hold what a snapshot does"),
    verb_rule(Verb::Delete, "delete", "NAME", "remove a volume that is not attached"),
    verb_rule(Verb::List, "list", "", "print the volumes"),
    verb_rule(Verb::Stats, "stats", "", "print what the store holds, and what it takes"),
    verb_rule(Verb::Top, "top", "", "show volumes and memory saved, live"),
    verb_rule(Verb::Metrics, "metrics", "", "print Prometheus' text format"),
});
constexpr std::span<const VerbRule<Verb>> kVerbRules = kVerbs;

Result<void> set_help(Command& command, std::string_view /*value*/) {
    command.topic = std::exchange(command.verb, Verb::Help);
    return {};
}

Result<void> set_version(Command& command, std::string_view /*value*/) {
    command.verb = Verb::Version;
    return {};
}

constexpr std::array kFormats{Named{.name = "table", .value = Format::Table},
                              Named{.name = "json", .value = Format::Json}};

struct Kind {
    static Result<void> parse(api::VolumeKind& into, std::string_view text) {
        const std::optional<api::VolumeKind> kind = api::volume_kind(text);
        if (!kind) {
            return usage_error("must be zram, file or overlay");
        }
        into = *kind;
        return {};
    }
    static void print(api::VolumeKind from, std::vector<std::string>& values) {
        values.emplace_back(to_string(from));
    }
};

struct FrontEnd {
    static Result<void> parse(api::FrontEnd& into, std::string_view text) {
        const std::optional<api::FrontEnd> front_end = api::front_end(text);
        if (!front_end) {
            return usage_error("must be ublk or vhost-user");
        }
        into = *front_end;
        return {};
    }
    static void print(api::FrontEnd from, std::vector<std::string>& values) {
        values.emplace_back(to_string(from));
    }
};

struct Domain : Text {
    static Result<void> parse(std::string& into, std::string_view text) {
        TRY(api::check_storage_name(text, "domain"));
        into = text;
        return {};
    }
};

struct File : Text {
    static Result<void> parse(std::string& into, std::string_view text) {
        std::error_code ignored;  // without a working directory, relative paths name nothing anyway
        into = std::filesystem::absolute(text, ignored).string();
        return {};
    }
};

constexpr std::uint32_t kAll = ~0U;
constexpr std::uint32_t kCreate = bit(Verb::Create);
constexpr std::uint32_t kAttach = bit(Verb::Attach);

template <auto Inner>
using OfVolume = Member<&Command::volume, Inner>;
template <auto Inner>
using OfAttach = Member<&Command::attach, Inner>;
using api::AttachSpec;
using api::VolumeSpec;

constexpr auto kOptions = std::to_array<Rule>({
    option<OfVolume<&VolumeSpec::capacity>, Size>(
        {.name = "size",
         .value_name = "SIZE",
         .help = "bytes, or with K, M, G, T; zram needs it",
         .verbs = kCreate}),
    option<OfVolume<&VolumeSpec::kind>, Kind>({.name = "kind",
                                               .value_name = "KIND",
                                               .help = "zram, file or overlay (default: zram)",
                                               .verbs = kCreate}),
    option<OfVolume<&VolumeSpec::file>, File>(
        {.name = "file",
         .value_name = "PATH",
         .help = "the file that a file volume is, or an overlay reads",
         .verbs = kCreate}),
    option<OfVolume<&VolumeSpec::direct>, Flag>(
        {.name = "direct", .help = "read and write a file past the page cache", .verbs = kCreate}),
    option<OfVolume<&VolumeSpec::domain>, Domain>(
        {.name = "domain",
         .value_name = "NAME",
         .help = "of trust: who may share equal pages (default: default)",
         .verbs = kCreate}),
    option<OfAttach<&AttachSpec::front_end>, FrontEnd>(
        {.name = "front-end",
         .value_name = "KIND",
         .help = "ublk or vhost-user (default: vhost-user)",
         .verbs = kAttach}),
    option<OfAttach<&AttachSpec::queues>, Number<1, AttachSpec::kQueuesMax>>(
        {.name = "queues", .value_name = "N", .help = "1 to 64 (default: 1)", .verbs = kAttach}),
    option<OfAttach<&AttachSpec::depth>, Number<1, AttachSpec::kDepthMax>>(
        {.name = "depth",
         .value_name = "N",
         .help = "of ublk: requests of a queue under way, 1 to 4096 (default: 128)",
         .verbs = kAttach}),
    option<OfAttach<&AttachSpec::read_only>, Flag>(
        {.name = "read-only", .help = "refuse writes", .verbs = kAttach}),
    option<&Command::format, Choice<kFormats>>({.name = "format",
                                                .value_name = "FORMAT",
                                                .help = "table or json (default: table)",
                                                .verbs = bit(Verb::List) | bit(Verb::Stats)}),
    option<&Command::once, Flag>({.name = "once",
                                  .help = "print it once; so it is without a terminal",
                                  .verbs = bit(Verb::Top)}),
    option<&Command::socket, Text>(
        {.name = "socket",
         .value_name = "PATH",
         .help = "the daemon's (default: /run/pepita/storage/storage.sock)",
         .verbs = kAll}),
    action<Command>({.name = "help", .letter = 'h', .help = "print this", .verbs = kAll}, set_help),
    action<Command>({.name = "version", .help = "print the version", .verbs = bit(Verb::None)},
                    set_version),
});
constexpr std::span<const Rule> kRules = kOptions;

/// The words of a verb that are no options.
Result<void> take_words(std::span<const std::string> words, const VerbRule<Verb>& rule,
                        Command& command) {
    const bool has_name = !rule.arguments.empty();
    const bool has_more = rule.arguments.find(' ') != std::string_view::npos;
    const std::size_t count = (has_name ? 1U : 0U) + (has_more ? 1U : 0U);
    if (has_name && !words.empty()) {
        command.volume.name = words[0];  // first, for the words of what is wrong
        if (Result<void> checked = api::check_storage_name(words[0], "name"); !checked) {
            command.volume.name.clear();
            return checked;
        }
    }
    if (words.size() < count) {
        return usage_error("needs " + std::string(rule.arguments));
    }
    if (words.size() > count) {
        return usage_error("unexpected argument '" + words[count] + "'");
    }
    if (rule.verb == Verb::Resize) {
        command.capacity = TRY(parse_size(words[1]), "'", words[1], "'");
    } else if (has_more) {
        command.path = words[1];
    }
    return {};
}

}  // namespace

std::string_view to_string(Verb verb) { return name_of(kVerbRules, verb); }

Result<void> parse_command_line(std::span<const std::string> arguments, Command& command) {
    // Options before the verb, then the verb: the first word is always "storage".
    if (arguments.empty()) {
        return usage_error("no command given; try --help");
    }
    if (arguments.front() != "storage") {
        TRY(apply_options(arguments.first(1), kRules, bit(Verb::None), command));
        if (command.verb != Verb::None) {
            return {};
        }
        return usage_error("unknown command '" + arguments.front() + "'; try --help");
    }
    arguments = arguments.subspan(1);
    if (arguments.empty()) {
        return usage_error("no storage command given; try --help");
    }
    const VerbRule<Verb>* const rule = rule_named(kVerbRules, arguments.front());
    if (rule == nullptr) {
        TRY(apply_options(arguments.first(1), kRules, bit(Verb::None), command));
        if (command.verb != Verb::None) {
            return {};
        }
        return usage_error("unknown storage command '" + arguments.front() + "'; try --help");
    }
    command.verb = rule->verb;
    const auto words = TRY(apply_options(arguments.subspan(1), kRules, bit(rule->verb), command));
    if (command.verb == Verb::Help) {
        return {};
    }
    return take_words(words, *rule, command);
}

std::string help_text(Verb topic) {
    return help_of(kVerbRules, kRules, topic,
                   {.program = "pepita storage",
                    .what = "Asks pepita-storage, the block storage of this node.",
                    .end = "Each command says more with --help. Images: pepita image --help."});
}

}  // namespace pepita::storage::cli
