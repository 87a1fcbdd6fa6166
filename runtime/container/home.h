#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/container.h"

namespace pepita::runtime::container {

/// The home directory that a passwd(5) file gives a user; "/" where it gives none. Any bytes will
/// do: lines that are no entries are passed over.
std::string home_of(std::string_view passwd, std::uint32_t uid);

/// The environment of `spec`, with HOME from the container's /etc/passwd where it has none (as
/// runc does).
std::vector<std::string> environment_of(const ProcessSpec& spec);

}  // namespace pepita::runtime::container
