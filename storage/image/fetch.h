#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/manifest.h"
#include "storage/image_fetch.h"
#include "storage/image_store.h"

namespace pepita::storage::image {

/// Where the contents of images are: a registry, a layout. Thread: any, several at once.
class ContentSource {
public:
    ContentSource() = default;
    ContentSource(const ContentSource&) = delete;
    ContentSource& operator=(const ContentSource&) = delete;
    ContentSource(ContentSource&&) = delete;
    ContentSource& operator=(ContentSource&&) = delete;
    virtual ~ContentSource() = default;

    struct ManifestBytes {
        std::string text;
        std::string media_type;  // as the source says; empty: it does not
    };
    /// By a tag or a digest. What was asked by its digest is checked by the caller.
    virtual Result<ManifestBytes> manifest(const std::string& reference) = 0;
    /// The bytes of a content, which the caller checks.
    virtual Result<std::unique_ptr<ByteSource>> blob(const Descriptor& descriptor) = 0;
};

/// Puts the image into the store. `names` are what it is called from then on; `digest_name`, where
/// it is not empty, with "@" and the digest of what `reference` named as well.
/// Errors: the source's; DataLoss for content that is not what its digest says; the store's.
Result<ImageInfo> fetch_image(ImageStore& store, ContentSource& source,
                              const std::string& reference, std::vector<std::string> names,
                              const std::string& digest_name, const FetchOptions& options);

}  // namespace pepita::storage::image
