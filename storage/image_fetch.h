#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "storage/digest.h"
#include "storage/image_store.h"

namespace pepita::storage {

/// How far a fetch is. Thread: any; all of it is counted while others read.
struct FetchProgress {
    std::atomic<std::uint64_t> layers = 0;       // of the image; 0: not known yet
    std::atomic<std::uint64_t> layers_done = 0;  // also those that the store had
    std::atomic<std::uint64_t> bytes = 0;        // of all layers, as they are transferred
    std::atomic<std::uint64_t> bytes_done = 0;
    /// Set by who waits: the fetch ends with Cancelled at its next piece of bytes.
    std::atomic<bool> is_cancelled = false;
};

struct FetchOptions {
    static constexpr std::size_t kParallelMax = 16;

    std::string architecture;  // of Linux; empty: this host's
    std::string variant;
    std::size_t parallel = 3;  // layers at once, 1 to kParallelMax
    /// Borrowed; null: nobody looks.
    FetchProgress* progress = nullptr;
};

/// Takes the images of an OCI layout (a directory, or a tar of one) or of `docker save`'s archive.
/// Their names: what the archive says, or `name`, where it holds one image and says none.
/// Errors: InvalidArgument for what is none of these; fetch's.
Result<std::vector<ImageInfo>> import_images(ImageStore& store, const std::string& path,
                                             std::string_view name, const FetchOptions& options);

/// Writes an image as a tar that is an OCI layout and docker's archive both, with its layers
/// uncompressed: image id and diff-ids stay, the manifest's digest is another one.
/// Errors: DataLoss where a layer's stored bytes are not its diff-id's any more; write(2)'s.
Result<void> export_image(ImageStore& store, const Digest& id, FdRef output);

}  // namespace pepita::storage
