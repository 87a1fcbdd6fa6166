#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/digest.h"
#include "storage/disk.h"

namespace pepita::storage {

namespace image {
class ByteSource;
}

/// What the store knows of an image.
struct ImageInfo {
    Digest id;                       // of its config
    std::vector<std::string> names;  // "docker.io/library/busybox:1", "…/busybox@sha256:…"; sorted
    std::vector<Digest> layers;      // diff-ids, the lowest first
    Bytes size;                      // of the disk that it is
};

/// An image while it is used. Each of `parts` carries a lock of its own, and so does each duplicate
/// and each copy in another process: the image is in use until the last is closed.
struct OpenImage {
    ImageInfo info;
    std::string config;     // JSON; OCI image-spec, config.md
    std::vector<Fd> parts;  // of the disk, in their order: the metadata, then the layers' data
};

/// The read-only EROFS that the image is. Errors: concatenation_disk()'s.
Result<std::shared_ptr<Disk>> image_disk(OpenImage image);

/// A layer that cannot go, though no image has it yet.
struct HeldLayer {
    Digest diff_id;
    Fd data;  // with the lock
    Fd headers;
};

struct ImageStoreUsage {
    Bytes used;  // on disk
    std::uint64_t inodes = 0;
};

/// The images of this host, in one directory that any number of processes may have open:
///
///     layers/DIFF-ID/{data,headers}                        storage/image/layer_writer.h
///     images/ID/{config.json,manifest.json,metadata}       storage/image/erofs_writer.h
///     names.json                                           names of images
///     temporary/                                           what is being made
///     lock, making/DIFF-ID                                 flock(2)
///
/// A layer or image is made in temporary/, synced, and appears by one rename, whole. Then the name
/// appears, likewise. So a crash leaves files in temporary/, which the next open() removes, or an
/// image without a name or a layer without an image, which prune() removes. What is in use is held
/// by a lock on its open file; removing looks for locks under the store's own.
///
/// Thread: any, several at once.
class ImageStore {
public:
    static constexpr std::string_view kDirectory = "/var/lib/pepita/images";

    /// Makes the directory where it is missing. Errors: FailedPrecondition for one of another
    /// version of this store; mkdir(2)'s, open(2)'s.
    static Result<std::unique_ptr<ImageStore>> open(const std::string& directory);

    Result<std::vector<ImageInfo>> list() const;
    /// By a name, an id, or the unique beginning of an id that is 4 digits or more. Nothing where
    /// there is none. Errors: InvalidArgument where several begin so.
    Result<std::optional<ImageInfo>> find(std::string_view name_or_id) const;
    /// Errors: NotFound; DataLoss where its files are not what they were.
    Result<OpenImage> use(const Digest& id) const;
    /// The bytes of its manifest as they were pulled. Errors: NotFound.
    Result<std::string> manifest(const Digest& id) const;
    /// Its config, without the lock that use() takes: nobody's remove() is refused meanwhile.
    /// Errors: NotFound.
    Result<std::string> config(const Digest& id) const;

    /// With all its names, and the layers that no other image has. Nothing where there is none.
    /// Errors: FailedPrecondition where it is in use.
    Result<void> remove(const Digest& id);
    /// Removes the images that have no name and are not in use, and layers that no image has. Gives
    /// the images.
    Result<std::vector<ImageInfo>> prune();
    /// Cost: looks at each file of the store.
    Result<ImageStoreUsage> usage() const;

    /// Gives the compressed or plain bytes of a layer, when they are needed.
    using OpenLayer = std::move_only_function<Result<std::unique_ptr<image::ByteSource>>()>;
    /// The layer, from the store or else from `open`. Who wants one that another thread or process
    /// is making waits for that. Errors: DataLoss where the bytes are not `diff_id`'s; `open`'s;
    /// write_layer()'s. Then nothing is left.
    Result<HeldLayer> layer(const Digest& diff_id, OpenLayer open);

    struct NewImage {
        std::string config;
        std::string manifest;
        std::vector<std::string> names;  // taken from the images that have them
    };
    /// `layers` as its config lists them. Gives the image also where the store had it.
    /// Errors: InvalidArgument where they are not, or are no tree; write_erofs()'s.
    Result<ImageInfo> add(const NewImage& image, std::span<const HeldLayer> layers);

private:
    using Names = std::map<std::string, Digest>;

    explicit ImageStore(std::string directory) : directory_(std::move(directory)) {}
    std::string path(std::string_view rest) const { return directory_ + "/" + std::string(rest); }
    std::string layer_path(const Digest& id) const { return path("layers/" + id.hex()); }
    std::string image_path(const Digest& id) const { return path("images/" + id.hex()); }

    /// The store's own lock, until the descriptor goes.
    Result<Fd> locked() const;
    Result<Names> read_names() const;
    Result<void> write_names(const Names& names);
    Result<std::vector<Digest>> ids_in(std::string_view folder) const;
    Result<ImageInfo> info(const Digest& id, const Names& names) const;
    Result<std::optional<HeldLayer>> held(const Digest& diff_id) const;
    Result<HeldLayer> make_layer(const Digest& diff_id, OpenLayer open);
    Result<void> publish(const NewImage& image, const Digest& id,
                         std::span<const HeldLayer> layers);
    /// False where it is in use.
    Result<bool> discard(const std::string& directory, const std::string& locked_file);
    Result<void> discard_unused_layers();

    std::string directory_;
};

}  // namespace pepita::storage
