#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pepita::storage::ublk {

/// The mount points, in the order of /proc/self/mountinfo, whose source is a ublk device or a
/// partition of one. Source: proc(5).
std::vector<std::string> mounts_on_ublk(std::string_view mountinfo);

}  // namespace pepita::storage::ublk
