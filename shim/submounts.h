#pragma once

#include <string_view>

namespace pepita::shim {

/// Whether something is mounted below `path`, which is absolute and has no links in it, by the text
/// of a mountinfo file. Source: Linux Documentation/filesystems/proc.rst, 3.5.
bool has_submounts(std::string_view mountinfo, std::string_view path);

}  // namespace pepita::shim
