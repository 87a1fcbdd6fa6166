#pragma once

#include <cstdint>
#include <string>

namespace pepita::cri {

/// Nanoseconds since 1970.
std::int64_t now_ns();

/// 32 hexadecimal digits.
std::string random_id();

}  // namespace pepita::cri
