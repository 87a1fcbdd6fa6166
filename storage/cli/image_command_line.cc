#include "storage/cli/image_command_line.h"

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
#include "storage/cli/command_line.h"
#include "storage/image_fetch.h"

namespace pepita::storage::cli {
namespace {

using runtime::action;
using runtime::apply_options;
using runtime::bit;
using runtime::Choice;
using runtime::help_of;
using runtime::name_of;
using runtime::Named;
using runtime::Number;
using runtime::Occurs;
using runtime::option;
using runtime::rule_named;
using runtime::Text;
using runtime::usage_error;
using runtime::verb_rule;
using runtime::VerbRule;
using Rule = runtime::OptionRule<ImageCommand>;

constexpr auto kVerbs = std::to_array<VerbRule<ImageVerb>>({
    verb_rule(ImageVerb::Pull, "pull", "NAME", "get an image from its registry, and print its id"),
    verb_rule(ImageVerb::List, "list", "", "print the images"),
    verb_rule(ImageVerb::Inspect, "inspect", "IMAGE", "print what is known of an image, as JSON"),
    verb_rule(ImageVerb::Remove, "remove", "IMAGE...", "remove images with all their names"),
    verb_rule(ImageVerb::Prune, "prune", "", "remove what has no name and is not in use"),
    verb_rule(ImageVerb::Import, "import", "PATH",
              "take the images of an OCI layout or of docker save's archive"),
    verb_rule(ImageVerb::Export, "export", "IMAGE",
              "write an image as an archive that both can read"),
});
constexpr std::span<const VerbRule<ImageVerb>> kVerbRules = kVerbs;

Result<void> set_help(ImageCommand& command, std::string_view /*value*/) {
    command.topic = std::exchange(command.verb, ImageVerb::Help);
    return {};
}

constexpr std::array kFormats{Named{.name = "table", .value = Format::Table},
                              Named{.name = "json", .value = Format::Json}};
constexpr std::uint32_t kFetch = bit(ImageVerb::Pull) | bit(ImageVerb::Import);

constexpr auto kOptions = std::to_array<Rule>({
    option<&ImageCommand::name, Text>({.name = "name",
                                       .value_name = "NAME",
                                       .help = "what the image is called from then on",
                                       .verbs = bit(ImageVerb::Import)}),
    option<&ImageCommand::output, Text>({.name = "output",
                                         .letter = 'o',
                                         .value_name = "FILE",
                                         .help = "the archive",
                                         .verbs = bit(ImageVerb::Export),
                                         .occurs = Occurs::Required}),
    option<&ImageCommand::auth_file, Text>(
        {.name = "authfile",
         .value_name = "FILE",
         .help = "docker's config.json with credentials (default: ~/.docker/config.json)",
         .verbs = bit(ImageVerb::Pull)}),
    option<&ImageCommand::hosts, Text>(
        {.name = "hosts",
         .value_name = "DIRECTORY",
         .help = "of folders with containerd's hosts.toml (default: /etc/pepita/certs.d)",
         .verbs = bit(ImageVerb::Pull)}),
    option<&ImageCommand::platform, Text>(
        {.name = "platform",
         .value_name = "PLATFORM",
         .help = "linux/ARCHITECTURE[/VARIANT] (default: this machine's)",
         .verbs = kFetch}),
    option<&ImageCommand::parallel, Number<1, FetchOptions::kParallelMax>>(
        {.name = "parallel",
         .value_name = "N",
         .help = "layers at once, 1 to 16 (default: 3)",
         .verbs = kFetch}),
    option<&ImageCommand::format, Choice<kFormats>>({.name = "format",
                                                     .value_name = "FORMAT",
                                                     .help = "table or json (default: table)",
                                                     .verbs = bit(ImageVerb::List)}),
    option<&ImageCommand::root, Text>(
        {.name = "root",
         .value_name = "DIRECTORY",
         .help = "where the images are (default: /var/lib/pepita/images)",
         .verbs = ~0U}),
    action<ImageCommand>({.name = "help", .letter = 'h', .help = "print this", .verbs = ~0U},
                         set_help),
});
constexpr std::span<const Rule> kRules = kOptions;

}  // namespace

std::string_view to_string(ImageVerb verb) { return name_of(kVerbRules, verb); }

Result<void> parse_image_command_line(std::span<const std::string> arguments,
                                      ImageCommand& command) {
    if (arguments.empty()) {
        return usage_error("no image command given; try --help");
    }
    const VerbRule<ImageVerb>* const rule = rule_named(kVerbRules, arguments.front());
    if (rule == nullptr) {
        TRY(apply_options(arguments.first(1), kRules, bit(ImageVerb::None), command));
        if (command.verb == ImageVerb::Help) {
            return {};
        }
        return usage_error("unknown image command '" + arguments.front() + "'; try --help");
    }
    command.verb = rule->verb;
    Result<std::vector<std::string>> words =
        apply_options(arguments.subspan(1), kRules, bit(rule->verb), command);
    if (command.verb == ImageVerb::Help) {
        return {};
    }
    command.images = TRY(std::move(words));
    if (command.images.empty() && !rule->arguments.empty()) {
        return usage_error("needs " + std::string(rule->arguments));
    }
    const std::size_t most = rule->arguments.empty()            ? 0
                             : rule->arguments.ends_with("...") ? SIZE_MAX
                                                                : 1;
    if (command.images.size() > most) {
        return usage_error("unexpected argument '" + command.images[most] + "'");
    }
    TRY(fetch_options(command));
    return {};
}

std::string image_help_text(ImageVerb topic) {
    return help_of(kVerbRules, kRules, topic,
                   {.program = "pepita image",
                    .what = "Keeps container images, each a read-only disk for guests.",
                    .end = "Each command says more with --help."});
}

Result<FetchOptions> fetch_options(const ImageCommand& command) {
    FetchOptions options;
    options.parallel = command.parallel;
    if (command.platform.empty()) {
        return options;
    }
    std::string_view rest = command.platform;
    constexpr std::string_view os = "linux/";
    if (!rest.starts_with(os) || rest.size() == os.size()) {
        return usage_error(
            "option '--platform' must be linux/ARCHITECTURE or "
            "linux/ARCHITECTURE/VARIANT");
    }
    rest.remove_prefix(os.size());
    const std::size_t slash = rest.find('/');
    options.architecture = rest.substr(0, slash);
    options.variant = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
    return options;
}

}  // namespace pepita::storage::cli
