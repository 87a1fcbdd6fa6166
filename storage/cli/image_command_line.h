#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "storage/cli/command_line.h"
#include "storage/image_fetch.h"
#include "storage/image_store.h"

namespace pepita::storage::cli {

enum class ImageVerb : std::uint8_t {
    None,
    Pull,
    List,
    Inspect,
    Remove,
    Prune,
    Import,
    Export,
    Help,
};
std::string_view to_string(ImageVerb verb);

/// What `pepita image ...` asked for.
struct ImageCommand {
    ImageVerb verb = ImageVerb::None;
    ImageVerb topic = ImageVerb::None;  // Help: of which verb
    std::string root{ImageStore::kDirectory};
    std::vector<std::string> images;            // names or ids; import: one path
    std::string name;                           // import
    std::string output;                         // export
    std::string auth_file;                      // pull; empty: the user's own
    std::string hosts = "/etc/pepita/certs.d";  // pull
    std::string platform;                       // "linux/arm64/v8"
    Format format = Format::Table;
    std::uint32_t parallel = 3;
};

/// Reads the arguments behind "image". Errors: InvalidArgument, in one line.
Result<void> parse_image_command_line(std::span<const std::string> arguments,
                                      ImageCommand& command);

/// Of a verb; of ImageVerb::None: of all.
std::string image_help_text(ImageVerb topic);

/// The options of a fetch that the command says. Errors: InvalidArgument for another platform's
/// form than "linux/ARCHITECTURE[/VARIANT]".
Result<FetchOptions> fetch_options(const ImageCommand& command);

}  // namespace pepita::storage::cli
