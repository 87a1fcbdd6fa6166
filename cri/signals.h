#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "cri/api/cri.h"

namespace pepita::cri {

/// Linux's number of a signal by its name ("SIGTERM", "TERM", "SIGRTMIN+3") or its number in
/// decimal, as images' STOPSIGNAL have them.
std::optional<std::uint32_t> signal_number(std::string_view name);

/// The same of CRI's. 0 for one that is none.
std::uint32_t signal_number(v1::Signal signal);

}  // namespace pepita::cri
