#pragma once

#include <span>
#include <string>

namespace pepita::storage::cli {

/// `pepita image ...`: the arguments behind that. Gives the exit status.
int image_main(std::span<const std::string> arguments);

}  // namespace pepita::storage::cli
