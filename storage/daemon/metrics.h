#pragma once

#include <span>
#include <string>

#include "runtime/storage_api.h"

namespace pepita::storage::daemon {

/// What Prometheus reads, by way of node_exporter's textfile collector.
/// Source: prometheus.io, "Exposition formats", text format 0.0.4.
std::string prometheus_text(const runtime::StorageStats& stats,
                            std::span<const runtime::VolumeInfo> volumes);

}  // namespace pepita::storage::daemon
