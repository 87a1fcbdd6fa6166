#pragma once

#include <span>
#include <string>

#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "storage/image_store.h"

namespace pepita::storage::cli {

/// "1.5 GiB", with at most one digit behind the point.
std::string human(Bytes size);

std::string list_table(std::span<const api::VolumeInfo> volumes);
std::string stats_table(const api::StorageStats& stats);
/// What `top` shows: one line of the store, then a line for each volume.
std::string top_view(const api::StorageStats& stats, std::span<const api::VolumeInfo> volumes);

/// A line for each name of each image; "-" for one without.
std::string image_table(std::span<const ImageInfo> images);

}  // namespace pepita::storage::cli
