#pragma once

#include <cstddef>
#include <span>

#include "kernel-abi/sys/result.h"

namespace pepita::storage {

/// Unpacks one LZ4 block (no frame around it) and gives the count of bytes that it held.
/// Errors: DataLoss where the block is damaged or holds more than `into`.
Result<std::size_t> lz4_unpack(std::span<const std::byte> block, std::span<std::byte> into);

}  // namespace pepita::storage
