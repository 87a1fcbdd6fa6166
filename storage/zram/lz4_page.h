#pragma once

#include <cstddef>
#include <span>

#include "kernel-abi/sys/units.h"

namespace pepita::storage {

inline constexpr std::size_t kPageBytes = kPageSize.value();

using PageView = std::span<const std::byte, kPageBytes>;
using PageSpan = std::span<std::byte, kPageBytes>;

/// More room than the block takes, so that the encoder may copy whole words.
inline constexpr std::size_t kLz4Spare = 64;

/// Packs a page into one LZ4 block, exactly as the format has it, and gives the block's size; 0
/// where there is no room. There always is for a block and kLz4Spare bytes more; with less there
/// may be. Bytes behind the block mean nothing.
/// Thread: any. Cost: 16 KiB of stack; about 1 ns a byte.
/// Source: the LZ4 block format description, of the LZ4 project.
std::size_t lz4_compress_page(PageView page, std::span<std::byte> into);

/// Unpacks a block that is one page. False where it is damaged, or holds more or less than a page;
/// `into` then means nothing. Reads and writes nothing outside of the two, whatever the block says.
bool lz4_decompress_page(std::span<const std::byte> block, PageSpan into);

}  // namespace pepita::storage
