#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace pepita::vmm {

/// The little-endian number in `bytes`, of which there are at most 8.
inline std::uint64_t load(std::span<const std::byte> bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof(value)));
    return value;
}

/// The low bytes of `value` into `bytes`, of which there are at most 8.
inline void store(std::span<std::byte> bytes, std::uint64_t value) {
    std::memcpy(bytes.data(), &value, std::min(bytes.size(), sizeof(value)));
}

/// Whether `size` bytes at `offset` are one access of 1, 2, 4 or 8 bytes on its natural boundary.
constexpr bool is_natural(std::uint64_t offset, std::size_t size) {
    return (size == 1 || size == 2 || size == 4 || size == 8) && offset % size == 0;
}

}  // namespace pepita::vmm
