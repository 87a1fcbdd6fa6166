#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace pepita::vmm {

/// A bzImage with nothing but what a loader looks at. `packed` is the payload without its trailer.
std::vector<std::byte> bzimage(std::span<const std::byte> packed, std::uint32_t unpacked_size);

// Each packs as Linux's build does.
std::vector<std::byte> pack_zstd(std::span<const std::byte> bytes);
std::vector<std::byte> pack_xz(std::span<const std::byte> bytes);
std::vector<std::byte> pack_lz4(std::span<const std::byte> bytes);
/// Without its last four bytes, which serve as the trailer.
std::vector<std::byte> pack_gzip(std::span<const std::byte> bytes);

}  // namespace pepita::vmm
