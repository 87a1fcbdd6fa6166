#include "storage/image/fetch.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/limits.h"
#include "storage/image/manifest.h"
#include "storage/image/sources.h"
#include "storage/image_fetch.h"
#include "storage/image_store.h"

namespace pepita::storage::image {
namespace {

/// A blob as it comes in: no byte more than its descriptor says, and at its end the right digest.
class CheckedBlob final : public ByteSource {
public:
    static Result<std::unique_ptr<CheckedBlob>> create(std::unique_ptr<ByteSource> from,
                                                       Descriptor descriptor,
                                                       FetchProgress* progress) {
        auto hashed = TRY(HashingSource::create(*from));
        return std::unique_ptr<CheckedBlob>(
            new CheckedBlob(std::move(from), std::move(hashed), std::move(descriptor), progress));
    }

    Result<std::size_t> read(std::span<std::byte> into) override {
        if (progress_ != nullptr && progress_->is_cancelled.load(std::memory_order_relaxed)) {
            return Error(Code::Cancelled, "the fetch was cancelled");
        }
        if (is_checked_ || into.empty()) {
            return std::size_t{0};
        }
        const std::size_t count = TRY(hashed_->read(into));
        const std::uint64_t total = hashed_->count().value();
        if (total > descriptor_.size || (count == 0 && total != descriptor_.size)) {
            return Error(Code::DataLoss,
                         descriptor_.digest.text() + " has " +
                             (count == 0 ? "only " : "more than ") +
                             std::to_string(count == 0 ? total : descriptor_.size) + " bytes" +
                             (count == 0 ? " of " + std::to_string(descriptor_.size) : ""));
        }
        if (count == 0) {
            const Digest digest = TRY(hashed_->finish());
            if (digest != descriptor_.digest) {
                return Error(Code::DataLoss, descriptor_.digest.text() + " was asked for, and " +
                                                 digest.text() + " came");
            }
            is_checked_ = true;
        }
        if (progress_ != nullptr) {
            progress_->bytes_done.fetch_add(count, std::memory_order_relaxed);
        }
        return count;
    }

private:
    CheckedBlob(std::unique_ptr<ByteSource> from, std::unique_ptr<HashingSource> hashed,
                Descriptor descriptor, FetchProgress* progress)
        : from_(std::move(from)),
          hashed_(std::move(hashed)),
          descriptor_(std::move(descriptor)),
          progress_(progress) {}

    std::unique_ptr<ByteSource> from_;
    std::unique_ptr<HashingSource> hashed_;
    Descriptor descriptor_;
    FetchProgress* progress_;
    bool is_checked_ = false;
};

Result<std::string> read_blob(ContentSource& source, const Descriptor& descriptor,
                              std::size_t size_max) {
    if (descriptor.size > size_max) {
        return Error(Code::ResourceExhausted, descriptor.digest.text() + " has more than " +
                                                  std::to_string(size_max) + " bytes");
    }
    const auto blob = TRY(CheckedBlob::create(TRY(source.blob(descriptor)), descriptor, nullptr));
    std::string text(descriptor.size, '\0');
    (void)TRY(read_fully(*blob, std::as_writable_bytes(std::span(text))));
    std::byte end{};
    (void)TRY(blob->read({&end, 1}));
    return text;
}

Result<void> check_digest(std::string_view text, const Digest& expected) {
    const Digest digest = TRY(sha256(std::as_bytes(std::span(text))));
    if (digest != expected) {
        return Error(Code::DataLoss, "manifest " + expected.text() + " was asked for, and " +
                                         digest.text() + " came");
    }
    return {};
}

/// The layers of an image, several at once, each by a thread.
class LayerFetch {
public:
    LayerFetch(ImageStore& store, ContentSource& source, const Manifest& manifest,
               const ImageConfig& config, FetchProgress* progress)
        : store_(store),
          source_(source),
          manifest_(manifest),
          config_(config),
          progress_(progress) {
        while (layers_.size() < manifest.layers.size()) {
            layers_.emplace_back(Error(Code::Aborted, "another layer failed"));
        }
    }

    Result<std::vector<HeldLayer>> run(std::size_t parallel) {
        const std::size_t count = std::clamp<std::size_t>(std::min(parallel, layers_.size()), 1,
                                                          FetchOptions::kParallelMax);
        {
            std::vector<Thread> helpers;  // joined at the end of the block
            for (std::size_t i = 1; i < count; ++i) {
                helpers.push_back(TRY(Thread::start("layer", [this] { work(); })));
            }
            work();
        }
        // The one that failed by itself, before those that were not tried because of it.
        for (Result<HeldLayer>& layer : layers_) {
            if (!layer && layer.error().code() != Code::Aborted) {
                return std::move(layer).error();
            }
        }
        std::vector<HeldLayer> done;
        done.reserve(layers_.size());
        for (Result<HeldLayer>& layer : layers_) {
            done.push_back(TRY(std::move(layer)));
        }
        return done;
    }

private:
    void work() {
        for (;;) {
            // Relaxed: it only deals out numbers; joining the threads orders the rest.
            const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
            if (index >= layers_.size()) {
                return;
            }
            if (has_failed_.load(std::memory_order_relaxed)) {
                return;
            }
            layers_[index] = fetch(index);
            if (!layers_[index]) {
                has_failed_.store(true, std::memory_order_relaxed);
            }
        }
    }

    Result<HeldLayer> fetch(std::size_t index) {
        const Descriptor& descriptor = manifest_.layers[index];
        bool is_transferred = false;
        HeldLayer layer =
            TRY(store_.layer(config_.diff_ids[index],
                             [&]() -> Result<std::unique_ptr<ByteSource>> {
                                 is_transferred = true;
                                 return std::unique_ptr<ByteSource>(TRY(CheckedBlob::create(
                                     TRY(source_.blob(descriptor)), descriptor, progress_)));
                             }),
                "layer ", descriptor.digest.text());
        if (progress_ != nullptr) {
            progress_->layers_done.fetch_add(1, std::memory_order_relaxed);
            if (!is_transferred) {
                progress_->bytes_done.fetch_add(descriptor.size, std::memory_order_relaxed);
            }
        }
        return layer;
    }

    ImageStore& store_;
    ContentSource& source_;
    const Manifest& manifest_;
    const ImageConfig& config_;
    FetchProgress* progress_;
    std::vector<Result<HeldLayer>> layers_;
    std::atomic<std::size_t> next_ = 0;
    std::atomic<bool> has_failed_ = false;
};

Platform platform_of(const FetchOptions& options) {
    Platform platform = Platform::host();
    if (!options.architecture.empty()) {
        platform.architecture = options.architecture;
        platform.variant = options.variant;
    }
    return platform;
}

struct FoundManifest {
    Manifest manifest;
    std::string text;
    Digest named;  // of what the reference named, which may be an index
};

Result<FoundManifest> find_manifest(ContentSource& source, const std::string& reference,
                                    const Platform& platform) {
    ContentSource::ManifestBytes bytes = TRY(source.manifest(reference));
    if (reference.starts_with("sha256:")) {
        TRY(check_digest(bytes.text, TRY(parse_digest(reference))));
    }
    FoundManifest found;
    found.named = TRY(sha256(std::as_bytes(std::span(bytes.text))));
    auto parsed = TRY(parse_manifest(bytes.text, bytes.media_type));
    if (const auto* index = std::get_if<Index>(&parsed)) {
        const Descriptor chosen = TRY(select_platform(*index, platform));
        bytes = TRY(source.manifest(chosen.digest.text()));
        TRY(check_digest(bytes.text, chosen.digest));
        parsed = TRY(parse_manifest(bytes.text, bytes.media_type));
    }
    if (!std::holds_alternative<Manifest>(parsed)) {
        return Error(Code::InvalidArgument, "an index of indexes is no image");
    }
    found.manifest = std::get<Manifest>(std::move(parsed));
    found.text = std::move(bytes.text);
    return found;
}

}  // namespace

Result<ImageInfo> fetch_image(ImageStore& store, ContentSource& source,
                              const std::string& reference, std::vector<std::string> names,
                              const std::string& digest_name, const FetchOptions& options) {
    const Platform platform = platform_of(options);
    FoundManifest found = TRY(find_manifest(source, reference, platform));
    const Manifest& manifest = found.manifest;
    const std::string text =
        TRY(read_blob(source, manifest.config, ImageLimits::kConfigMax), "image config");
    const ImageConfig config = TRY(parse_image_config(text));
    if (config.diff_ids.size() != manifest.layers.size()) {
        return Error(Code::InvalidArgument,
                     "the image has " + std::to_string(manifest.layers.size()) +
                         " layers, and its config lists " + std::to_string(config.diff_ids.size()));
    }
    if (config.platform.os != platform.os ||
        config.platform.architecture != platform.architecture) {
        return Error(Code::FailedPrecondition, "the image is for " + config.platform.os + "/" +
                                                   config.platform.architecture + ", not for " +
                                                   platform.os + "/" + platform.architecture);
    }
    if (options.progress != nullptr) {
        std::uint64_t bytes = 0;
        for (const Descriptor& layer : manifest.layers) {
            bytes += std::min<std::uint64_t>(layer.size, 1ULL << 50U);
        }
        options.progress->bytes.store(bytes, std::memory_order_relaxed);
        options.progress->layers.store(manifest.layers.size(), std::memory_order_relaxed);
    }
    const std::vector<HeldLayer> layers =
        TRY(LayerFetch(store, source, manifest, config, options.progress).run(options.parallel));
    if (!digest_name.empty()) {
        names.push_back(digest_name + "@" + found.named.text());
    }
    return store.add({.config = text, .manifest = std::move(found.text), .names = std::move(names)},
                     layers);
}

}  // namespace pepita::storage::image
