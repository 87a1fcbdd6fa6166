#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "storage/digest.h"

namespace pepita::storage::image {

/// What an image is for. Source: OCI image-spec, image-index.md.
struct Platform {
    std::string os;
    std::string architecture;
    std::string variant;

    /// What this host's guests run.
    static Platform host();
};

/// A content by its digest. Source: OCI image-spec, descriptor.md.
struct Descriptor {
    std::string media_type;
    Digest digest;
    std::uint64_t size = 0;
    std::optional<Platform> platform;
    std::string ref_name;  // org.opencontainers.image.ref.name
};

struct Manifest {
    Descriptor config;
    std::vector<Descriptor> layers;
};

struct Index {
    std::vector<Descriptor> manifests;
};

/// An OCI or Docker (schema 2) manifest, or a list of them. Which, its members say; `media_type`,
/// where it is given, must agree.
/// Errors: InvalidArgument; Unsupported for schema 1, layers that are not to be distributed, and
/// what is no image.
Result<std::variant<Manifest, Index>> parse_manifest(std::string_view text,
                                                     std::string_view media_type = {});

/// The first manifest for `platform`. Errors: NotFound, which says what there is.
Result<Descriptor> select_platform(const Index& index, const Platform& platform);

/// What of an image's config the store needs.
struct ImageConfig {
    Platform platform;
    std::vector<Digest> diff_ids;
};
Result<ImageConfig> parse_image_config(std::string_view text);

}  // namespace pepita::storage::image
