#pragma once

#include <cstdint>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "storage/image/limits.h"

namespace pepita::storage::image {

inline constexpr std::uint64_t kErofsBlock = 4096;

constexpr std::uint64_t blocks_for(std::uint64_t bytes) {
    return bytes / kErofsBlock + (bytes % kErofsBlock == 0 ? 0 : 1);
}

/// Where the files of a layer are in its data: one behind the other, each from a block of 4 KiB on,
/// in the order of the archive. The headers alone tell it, so nothing else has to be kept.
class LayerLayout {
public:
    /// The first block of the next file. Errors: ResourceExhausted.
    Result<std::uint32_t> place(std::uint64_t size) {
        constexpr std::uint64_t most = ImageLimits::kLayerMax.value() / kErofsBlock;
        static_assert(most <= UINT32_MAX);
        const std::uint64_t count = blocks_for(size);
        if (count > most - next_) {
            return Error(Code::ResourceExhausted,
                         "the layer's files pass " +
                             std::to_string(ImageLimits::kLayerMax.value() >> 30U) + " GiB");
        }
        const auto first = static_cast<std::uint32_t>(next_);
        next_ += count;
        return first;
    }
    std::uint64_t blocks() const { return next_; }

private:
    std::uint64_t next_ = 0;
};

}  // namespace pepita::storage::image
