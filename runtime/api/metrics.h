#pragma once

#include <string>
#include <string_view>

#include "runtime/container.h"

namespace pepita::runtime::api {

/// "io.containerd.cgroups.v2.Metrics", as the type of an Any.
inline constexpr std::string_view kMetricsType = "io.containerd.cgroups.v2.Metrics";

/// That message, serialized.
std::string encode_metrics(const ContainerStats& stats);
/// The reverse; what cannot be read is nothing used.
ContainerStats decode_metrics(std::string_view bytes);

}  // namespace pepita::runtime::api
