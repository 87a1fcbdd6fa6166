#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::cli {

enum class Verb : std::uint8_t {
    None,
    Create,
    Attach,
    Detach,
    Resize,
    Snapshot,
    Restore,
    Delete,
    List,
    Stats,
    Top,
    Metrics,
    Help,
    Version,
};
std::string_view to_string(Verb verb);

enum class Format : std::uint8_t { Table, Json };

/// What `pepita storage ...` asked for; each verb reads its own part.
struct Command {
    Verb verb = Verb::None;
    Verb topic = Verb::None;  // Help: of which verb
    std::string socket = api::kStorageSocket;
    Format format = Format::Table;
    api::VolumeSpec volume;  // its name: of every verb that takes one
    api::AttachSpec attach;
    Bytes capacity;    // resize
    std::string path;  // snapshot, restore
    bool once = false;
};

/// Reads the arguments after the program's name. Fills `command` as far as it gets.
/// Errors: InvalidArgument, in one line.
Result<void> parse_command_line(std::span<const std::string> arguments, Command& command);

/// Of a verb; of Verb::None: of the program.
std::string help_text(Verb topic);

}  // namespace pepita::storage::cli
