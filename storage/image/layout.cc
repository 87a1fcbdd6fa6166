// Images in files: OCI layouts, as directories or in a tar, and the archives of `docker save`.
//
// An archive is read once from its beginning to its end, to find where each file in it is; the
// files are then read where they are. So it cannot be a pipe, nor compressed as a whole.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/rpc/json.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/fetch.h"
#include "storage/image/layer_writer.h"
#include "storage/image/limits.h"
#include "storage/image/manifest.h"
#include "storage/image/reference.h"
#include "storage/image/sources.h"
#include "storage/image/tar_reader.h"
#include "storage/image_fetch.h"
#include "storage/image_store.h"

namespace pepita::storage {
namespace image {
namespace {

using runtime::oci::Json;
using runtime::oci::Node;
using runtime::oci::Object;
using runtime::oci::OrderedJson;
using runtime::oci::parse_json;

constexpr std::string_view kManifestType = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kConfigType = "application/vnd.oci.image.config.v1+json";
constexpr std::string_view kLayerType = "application/vnd.oci.image.layer.v1.tar";
constexpr std::size_t kFilesMax = 65536;

/// A file that owns itself.
class OwnedFileSource final : public ByteSource {
public:
    OwnedFileSource(Fd file, std::uint64_t offset, Bytes size)
        : file_(std::move(file)), source_(file_.ref(), offset, size) {}
    Result<std::size_t> read(std::span<std::byte> into) override { return source_.read(into); }

private:
    Fd file_;
    FileSource source_;
};

/// Files by their names: in a directory, or in a tar.
class Files {
public:
    static Result<Files> open(const std::string& path) {
        Files files;
        files.file_ = TRY(open_file(path.c_str(), O_RDONLY));
        struct stat status{};
        if (::fstat(files.file_.ref().number(), &status) != 0) {
            return Error::from_errno(errno, "look at '" + path + "'");
        }
        files.is_directory_ = S_ISDIR(status.st_mode);
        if (!files.is_directory_ && !S_ISREG(status.st_mode)) {
            return Error(Code::InvalidArgument,
                         "'" + path + "' is neither a directory nor a regular file");
        }
        if (!files.is_directory_) {
            TRY(files.index(), "'", path, "'");
        }
        return files;
    }

    bool has(const std::string& name) const {
        struct stat status{};
        return is_directory_ ? ::fstatat(file_.ref().number(), name.c_str(), &status, 0) == 0
                             : find(name) != nullptr;
    }

    Result<std::unique_ptr<ByteSource>> open_one(const std::string& name) const {
        if (is_directory_) {
            Fd file(::openat(file_.ref().number(), name.c_str(), O_RDONLY | O_CLOEXEC));
            if (!file) {
                return Error::from_errno(errno, "open '" + printable(name) + "'");
            }
            const Bytes size = TRY(file_size(file.ref()), "'", printable(name), "'");
            return std::unique_ptr<ByteSource>(
                std::make_unique<OwnedFileSource>(std::move(file), 0, size));
        }
        const Range* const range = find(name);
        if (range == nullptr) {
            return Error(Code::NotFound, "the archive has no file '" + printable(name) + "'");
        }
        return std::unique_ptr<ByteSource>(std::make_unique<OwnedFileSource>(
            TRY(duplicate(file_.ref())), range->offset, Bytes(range->size)));
    }

    Result<std::string> read(const std::string& name, std::size_t size_max) const {
        const auto source = TRY(open_one(name));
        std::string text(size_max + 1, '\0');
        const std::size_t count = TRY(read_fully(*source, std::as_writable_bytes(std::span(text))));
        if (count > size_max) {
            return Error(Code::ResourceExhausted, "'" + printable(name) + "' has more than " +
                                                      std::to_string(size_max) + " bytes");
        }
        text.resize(count);
        return text;
    }

private:
    struct Range {
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        std::string link;  // the name that has it
    };

    static std::string plain(std::string_view name) {
        while (name.starts_with("./") || name.starts_with('/')) {
            name.remove_prefix(name.starts_with('/') ? 1 : 2);
        }
        return std::string(name);
    }

    Result<void> index() {
        FileSource file(file_.ref());
        TarReader tar(file);
        while (const std::optional<TarEntry> entry = TRY(tar.next())) {
            if (ranges_.size() == kFilesMax) {
                return Error(Code::ResourceExhausted, "the archive has too many files");
            }
            Range range{.offset = tar.position(), .size = entry->size, .link = {}};
            if (entry->type == TarEntry::Type::Symlink) {
                // docker's old archives: "../ID/layer.tar" beside a directory of the image.
                std::string_view target = entry->link;
                while (target.starts_with("../")) {
                    target.remove_prefix(3);
                }
                range.link = plain(target);
            } else if (entry->type == TarEntry::Type::HardLink) {
                range.link = plain(entry->link);
            } else if (entry->type != TarEntry::Type::Regular || entry->extents) {
                continue;
            }
            ranges_.insert_or_assign(plain(entry->path), std::move(range));
        }
        return {};
    }

    const Range* find(const std::string& name) const {
        auto found = ranges_.find(plain(name));
        if (found != ranges_.end() && !found->second.link.empty()) {
            found = ranges_.find(found->second.link);
        }
        return found == ranges_.end() || !found->second.link.empty() ? nullptr : &found->second;
    }

    Fd file_;
    bool is_directory_ = false;
    std::map<std::string, Range> ranges_;
};

std::string blob_name(const Digest& digest) { return "blobs/sha256/" + digest.hex(); }

class LayoutSource final : public ContentSource {
public:
    explicit LayoutSource(const Files& files) : files_(files) {}
    Result<ManifestBytes> manifest(const std::string& reference) override {
        return ManifestBytes{.text = TRY(files_.read(blob_name(TRY(parse_digest(reference))),
                                                     ImageLimits::kManifestMax)),
                             .media_type = {}};
    }
    Result<std::unique_ptr<ByteSource>> blob(const Descriptor& descriptor) override {
        return files_.open_one(blob_name(descriptor.digest));
    }

private:
    const Files& files_;
};

OrderedJson descriptor_of(std::string_view type, const Digest& digest, std::uint64_t size) {
    OrderedJson json = OrderedJson::object();
    json.emplace("mediaType", type);
    json.emplace("digest", digest.text());
    json.emplace("size", size);
    return json;
}

struct LayerFile {
    Digest digest;
    std::uint64_t size = 0;
    std::string name;
};

/// The manifest of an image that has none, or has one of other layers.
std::string manifest_of(std::string_view config, const Digest& id,
                        std::span<const LayerFile> layers) {
    OrderedJson json = OrderedJson::object();
    json.emplace("schemaVersion", 2);
    json.emplace("mediaType", kManifestType);
    json.emplace("config", descriptor_of(kConfigType, id, config.size()));
    OrderedJson list = OrderedJson::array();
    for (const LayerFile& layer : layers) {
        list.push_back(descriptor_of(kLayerType, layer.digest, layer.size));
    }
    json.emplace("layers", std::move(list));
    return runtime::oci::dump(json);
}

/// One image of docker's manifest.json, which lists files: their digests are the diff-ids of the
/// config, once they are uncompressed.
class DockerSource final : public ContentSource {
public:
    static Result<std::unique_ptr<DockerSource>> create(const Files& files,
                                                        const std::string& config_name,
                                                        const std::vector<std::string>& names) {
        std::unique_ptr<DockerSource> source(new DockerSource(files));
        source->config_ = TRY(files.read(config_name, ImageLimits::kConfigMax));
        const ImageConfig config = TRY(parse_image_config(source->config_));
        if (config.diff_ids.size() != names.size()) {
            return Error(Code::InvalidArgument, "the archive's image has " +
                                                    std::to_string(names.size()) +
                                                    " layers, and its config lists " +
                                                    std::to_string(config.diff_ids.size()));
        }
        for (std::size_t i = 0; i < names.size(); ++i) {
            // As stored, so that the fetch has something to check; the store checks the diff-id.
            const auto file = TRY(files.open_one(names[i]));
            const auto hashed = TRY(HashingSource::create(*file));
            const Digest digest = TRY(hashed->finish());
            source->layers_.push_back(
                {.digest = digest, .size = hashed->count().value(), .name = names[i]});
        }
        source->id_ = TRY(sha256(std::as_bytes(std::span(source->config_))));
        return source;
    }

    Result<ManifestBytes> manifest(const std::string& /*reference*/) override {
        return ManifestBytes{.text = manifest_of(config_, id_, layers_), .media_type = {}};
    }
    Result<std::unique_ptr<ByteSource>> blob(const Descriptor& descriptor) override {
        if (descriptor.digest == id_) {
            return std::unique_ptr<ByteSource>(std::make_unique<ConfigSource>(config_));
        }
        const auto layer = std::ranges::find(layers_, descriptor.digest, &LayerFile::digest);
        if (layer == layers_.end()) {
            return Error(Code::NotFound, "the archive has no " + descriptor.digest.text());
        }
        return files_.open_one(layer->name);
    }

private:
    class ConfigSource final : public ByteSource {
    public:
        explicit ConfigSource(std::string_view text) : source_(text) {}
        Result<std::size_t> read(std::span<std::byte> into) override { return source_.read(into); }

    private:
        MemorySource source_;
    };

    explicit DockerSource(const Files& files) : files_(files) {}
    const Files& files_;
    std::string config_;
    Digest id_;
    std::vector<LayerFile> layers_;
};

/// What an archive calls an image: a whole reference, or only a tag, which names nothing.
Result<std::vector<std::string>> names_of(std::span<const std::string> written,
                                          std::string_view given) {
    std::vector<std::string> names;
    for (const std::string& text : written) {
        if (text.find_first_of("/:") != std::string::npos) {
            names.push_back(TRY(parse_reference(text)).tagged());
        }
    }
    if (!given.empty()) {
        names = {TRY(parse_reference(given)).tagged()};
    }
    std::erase(names, "");
    return names;
}

Result<std::vector<ImageInfo>> import_layout(ImageStore& store, const Files& files,
                                             std::string_view name, const FetchOptions& options) {
    const std::string text = TRY(files.read("index.json", ImageLimits::kManifestMax));
    const auto parsed = TRY(parse_manifest(text));
    const auto* const index = std::get_if<Index>(&parsed);
    if (index == nullptr || index->manifests.empty()) {
        return Error(Code::InvalidArgument, "the layout's index.json lists no image");
    }
    if (!name.empty() && index->manifests.size() != 1) {
        return Error(Code::InvalidArgument, "the layout has " +
                                                std::to_string(index->manifests.size()) +
                                                " images, and one name cannot be all of theirs");
    }
    LayoutSource source(files);
    std::vector<ImageInfo> images;
    for (const Descriptor& manifest : index->manifests) {
        const std::array written{manifest.ref_name};
        images.push_back(TRY(fetch_image(store, source, manifest.digest.text(),
                                         TRY(names_of(written, name)), "", options)));
    }
    return images;
}

Result<std::vector<ImageInfo>> import_docker(ImageStore& store, const Files& files,
                                             std::string_view name, const FetchOptions& options) {
    const std::string text = TRY(files.read("manifest.json", ImageLimits::kManifestMax));
    const Json json = TRY(parse_json(text), "manifest.json");
    const std::vector<Node> elements = TRY(Node(json, "manifest.json").elements());
    if (elements.empty() || (!name.empty() && elements.size() != 1)) {
        return Error(Code::InvalidArgument,
                     "the archive has " + std::to_string(elements.size()) + " images");
    }
    std::vector<ImageInfo> images;
    for (const Node& element : elements) {
        const Object image = TRY(element.object());
        const std::vector<std::string> layers = TRY(image.texts_or_empty("Layers"));
        if (layers.size() > ImageLimits::kLayersMax) {
            return Error(Code::ResourceExhausted, "the image has too many layers");
        }
        const auto source =
            TRY(DockerSource::create(files, TRY(TRY(image.require("Config")).text()), layers));
        const auto written = TRY(image.texts_or_empty("RepoTags"));
        images.push_back(
            TRY(fetch_image(store, *source, "", TRY(names_of(written, name)), "", options)));
    }
    return images;
}

/// Writes a tar of regular files (ustar; sizes beyond 8 GiB as GNU writes them).
class TarWriter {
public:
    explicit TarWriter(FdRef output) : output_(output) {}

    Result<void> begin(const std::string& name, std::uint64_t size) {
        std::array<char, 512> block{};
        std::ranges::copy(name, block.begin());
        put_octal(std::span(block).subspan(100, 8), 0644);
        put_octal(std::span(block).subspan(108, 8), 0);
        put_octal(std::span(block).subspan(116, 8), 0);
        put_octal(std::span(block).subspan(136, 12), 0);
        const std::span<char> size_field = std::span(block).subspan(124, 12);
        if (size >= 1ULL << 33U) {
            for (std::size_t i = 0; i < 8; ++i) {
                size_field[11 - i] = static_cast<char>(size >> (8 * i) & 0xffU);
            }
            size_field[0] = static_cast<char>(0x80);
        } else {
            put_octal(size_field, size);
        }
        block[156] = '0';
        std::ranges::copy(std::string_view("ustar\00000", 8), block.begin() + 257);
        std::ranges::fill(std::span(block).subspan(148, 8), ' ');
        unsigned sum = 0;
        for (const char c : block) {
            sum += static_cast<unsigned char>(c);
        }
        put_octal(std::span(block).subspan(148, 7), sum);
        left_ = size;
        padding_ = (512 - size % 512) % 512;
        return write_all(output_, std::string_view(block.data(), block.size()), "archive");
    }

    Result<void> data(std::span<const std::byte> bytes) {
        if (bytes.size() > left_) {
            return Error(Code::DataLoss, "a layer is longer than it was");
        }
        left_ -= bytes.size();
        return write_all(output_, bytes, "archive");
    }

    Result<void> end() {
        if (left_ != 0) {
            return Error(Code::DataLoss, "a layer is shorter than it was");
        }
        return write_all(output_, std::string(padding_, '\0'), "archive");
    }

    Result<void> file(const std::string& name, std::string_view text) {
        TRY(begin(name, text.size()));
        TRY(data(std::as_bytes(std::span(text))));
        return end();
    }

    Result<void> finish() { return write_all(output_, std::string(1024, '\0'), "archive"); }

private:
    /// Digits, and a NUL behind them.
    static void put_octal(std::span<char> field, std::uint64_t value) {
        for (std::size_t i = field.size() - 1; i-- > 0;) {
            field[i] = static_cast<char>('0' + (value & 7U));
            value >>= 3U;
        }
    }

    FdRef output_;
    std::uint64_t left_ = 0;
    std::size_t padding_ = 0;
};

/// A layer of the store as the tar that it was.
class StoredTar {
public:
    static Result<std::unique_ptr<StoredTar>> open(const HeldLayer& layer) {
        auto stored = std::make_unique<StoredTar>();
        stored->file_ = std::make_unique<FileSource>(layer.headers.ref(), 0,
                                                     TRY(file_size(layer.headers.ref())));
        stored->headers_ = TRY(uncompressed(*stored->file_, Origin::Ours));
        stored->tar_ = std::make_unique<LayerTar>(*stored->headers_, layer.data.ref());
        return stored;
    }
    ByteSource& tar() { return *tar_; }

private:
    std::unique_ptr<FileSource> file_;
    std::unique_ptr<ByteSource> headers_;
    std::unique_ptr<LayerTar> tar_;
};

Result<LayerFile> checked(const HeldLayer& layer) {
    const auto stored = TRY(StoredTar::open(layer));
    const auto hashed = TRY(HashingSource::create(stored->tar()));
    if (TRY(hashed->finish()) != layer.diff_id) {
        return Error(Code::DataLoss, "the stored bytes of layer " + layer.diff_id.text() +
                                         " are not what they were");
    }
    return LayerFile{
        .digest = layer.diff_id, .size = hashed->count().value(), .name = blob_name(layer.diff_id)};
}

/// docker's manifest.json of one image whose files are the layout's.
std::string docker_manifest(const ImageInfo& info, std::span<const LayerFile> layers) {
    OrderedJson image = OrderedJson::object();
    image.emplace("Config", blob_name(info.id));
    OrderedJson tags = OrderedJson::array();
    for (const std::string& name : info.names) {
        if (name.find('@') == std::string::npos) {
            tags.push_back(name);
        }
    }
    image.emplace("RepoTags", std::move(tags));
    OrderedJson names = OrderedJson::array();
    for (const LayerFile& layer : layers) {
        names.push_back(layer.name);
    }
    image.emplace("Layers", std::move(names));
    return runtime::oci::dump(OrderedJson::array({std::move(image)}));
}

std::string layout_index(const ImageInfo& info, std::string_view manifest, const Digest& digest) {
    OrderedJson list = OrderedJson::array();
    OrderedJson descriptor = descriptor_of(kManifestType, digest, manifest.size());
    for (const std::string& name : info.names) {
        if (name.find('@') == std::string::npos) {
            OrderedJson named = descriptor;
            OrderedJson annotations = OrderedJson::object();
            annotations.emplace("org.opencontainers.image.ref.name", name);
            named.emplace("annotations", std::move(annotations));
            list.push_back(std::move(named));
        }
    }
    if (list.empty()) {
        list.push_back(std::move(descriptor));
    }
    OrderedJson index = OrderedJson::object();
    index.emplace("schemaVersion", 2);
    index.emplace("manifests", std::move(list));
    return runtime::oci::dump(index);
}

}  // namespace
}  // namespace image

Result<std::vector<ImageInfo>> import_images(ImageStore& store, const std::string& path,
                                             std::string_view name, const FetchOptions& options) {
    const auto files = TRY(image::Files::open(path));
    if (files.has("oci-layout") && files.has("index.json")) {
        return image::import_layout(store, files, name, options);
    }
    if (files.has("manifest.json")) {
        return image::import_docker(store, files, name, options);
    }
    return Error(Code::InvalidArgument,
                 "'" + path + "' is neither an OCI layout nor an archive of docker save");
}

Result<void> export_image(ImageStore& store, const Digest& id, FdRef output) {
    const OpenImage open = TRY(store.use(id));
    std::vector<HeldLayer> layers;
    std::vector<image::LayerFile> files;
    for (const Digest& diff_id : open.info.layers) {
        layers.push_back(
            TRY(store.layer(diff_id, []() -> Result<std::unique_ptr<image::ByteSource>> {
                return Error(Code::DataLoss, "a layer is missing");
            })));
        files.push_back(TRY(image::checked(layers.back())));
    }
    const std::string manifest = image::manifest_of(open.config, id, files);
    const Digest digest = TRY(sha256(std::as_bytes(std::span(manifest))));
    image::TarWriter tar(output);
    TRY(tar.file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
    TRY(tar.file("index.json", image::layout_index(open.info, manifest, digest)));
    TRY(tar.file("manifest.json", image::docker_manifest(open.info, files)));
    TRY(tar.file(image::blob_name(digest), manifest));
    TRY(tar.file(image::blob_name(id), open.config));
    for (std::size_t i = 0; i < files.size(); ++i) {
        const bool is_again = std::ranges::count(std::span(files).first(i), files[i].digest,
                                                 &image::LayerFile::digest) != 0;
        if (is_again) {
            continue;
        }
        TRY(tar.begin(files[i].name, files[i].size));
        const auto stored = TRY(image::StoredTar::open(layers[i]));
        std::vector<std::byte> buffer(std::size_t{1} << 20U);
        for (;;) {
            const std::size_t count = TRY(stored->tar().read(buffer));
            if (count == 0) {
                break;
            }
            TRY(tar.data(std::span(buffer).first(count)));
        }
        TRY(tar.end());
    }
    return tar.finish();
}

}  // namespace pepita::storage
