#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel-abi/sys/units.h"

namespace pepita::storage::image {

/// What an image may cost this host. Everything that reads an image's bytes keeps to these.
struct ImageLimits {
    /// Entries of one layer, and files of a whole image.
    static constexpr std::uint64_t kEntriesMax = 1U << 20U;
    static constexpr std::size_t kLayersMax = 512;
    static constexpr std::size_t kPathMax = 4096;
    static constexpr std::size_t kNameMax = 255;
    static constexpr std::size_t kDepthMax = 512;
    static constexpr std::size_t kSymlinkMax = 4095;      // what Linux makes
    static constexpr std::size_t kSymlinksFollowed = 40;  // as path_resolution(7)
    /// Names and values of one file's extended attributes together: Linux lists no more.
    static constexpr std::size_t kXattrsMax = 65536;
    static constexpr std::size_t kXattrNameMax = 255;
    static constexpr std::size_t kXattrValueMax = 65535;
    /// One PAX header, or one GNU long name.
    static constexpr std::size_t kTarHeaderMax = std::size_t{1} << 20U;
    /// All headers of one layer, which a merge reads.
    static constexpr std::uint64_t kTarHeadersMax = 4ULL << 30U;
    static constexpr std::size_t kSparseExtentsMax = 65536;
    /// A layer's tar, uncompressed; and its data with the holes of sparse files.
    static constexpr Bytes kLayerMax{256ULL << 30U};
    /// A stream may expand so many times, once it has given that many bytes.
    static constexpr std::uint64_t kExpansionMax = 200;
    static constexpr Bytes kExpansionFree{256ULL << 20U};
    /// A manifest or an index; distribution-spec 1.1 asks for 4 MiB.
    static constexpr std::size_t kManifestMax = std::size_t{4} << 20U;
    static constexpr std::size_t kConfigMax = std::size_t{4} << 20U;
};

}  // namespace pepita::storage::image
