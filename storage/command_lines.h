#pragma once

#include <span>
#include <string>

namespace pepita::storage {

// What of the program `pepita` is storage's: command lines without the program's name. They print,
// and give the exit status. The process ignores SIGPIPE.

/// `storage ...`: the volumes of pepita-storage.
int storage_main(std::span<const std::string> arguments);

/// Behind `image`: the images of this host.
int image_main(std::span<const std::string> arguments);

}  // namespace pepita::storage
