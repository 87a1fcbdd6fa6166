#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "storage/image/image_tree.h"

namespace pepita::storage::image {

/// The metadata of an EROFS whose disk is these bytes and then the data of all layers, one behind
/// the other: superblock, inodes with their attributes and small directories, large directories.
/// A file's inode has the number of its first block on that disk (FLAT_PLAIN, no feature that a
/// kernel could lack; Linux 5.4 and newer), so any number of layers is one file system.
///
/// `layer_blocks`: the blocks of each layer's data. Equal trees give equal bytes.
/// Shape: whole blocks of 4 KiB.
/// Errors: OutOfRange where the disk passes EROFS's 2^32 blocks.
Result<std::vector<std::byte>> write_erofs(const ImageTree& tree,
                                           std::span<const std::uint64_t> layer_blocks,
                                           const std::array<std::uint8_t, 16>& uuid);

}  // namespace pepita::storage::image
