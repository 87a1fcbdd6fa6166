#include "storage/lz4_block.h"

#include <lz4.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::storage {

Result<std::size_t> lz4_unpack(std::span<const std::byte> block, std::span<std::byte> into) {
    constexpr std::size_t size_max = std::numeric_limits<int>::max();
    if (block.size() > size_max) {
        return Error(Code::DataLoss, "LZ4 block of more than 2 GiB");
    }
    // SAFETY: LZ4 takes char where it means bytes, and stays within both sizes.
    const int size = LZ4_decompress_safe(
        reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(into.data()),
        static_cast<int>(block.size()), static_cast<int>(std::min(into.size(), size_max)));
    if (size < 0) {
        return Error(Code::DataLoss, "damaged LZ4 block");
    }
    return static_cast<std::size_t>(size);
}

}  // namespace pepita::storage
