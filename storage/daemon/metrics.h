#pragma once

#include <span>
#include <string>

#include "storage/api/storage_api.h"

namespace pepita::storage::daemon {

/// What Prometheus reads, by way of node_exporter's textfile collector.
/// Source: prometheus.io, "Exposition formats", text format 0.0.4.
std::string prometheus_text(const api::StorageStats& stats,
                            std::span<const api::VolumeInfo> volumes);

}  // namespace pepita::storage::daemon
