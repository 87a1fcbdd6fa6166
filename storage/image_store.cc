#include "storage/image_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/rpc/json.h"
#include "storage/concatenation.h"
#include "storage/digest.h"
#include "storage/disk.h"
#include "storage/image/byte_source.h"
#include "storage/image/directories.h"
#include "storage/image/erofs_writer.h"
#include "storage/image/image_tree.h"
#include "storage/image/layer_layout.h"
#include "storage/image/layer_writer.h"
#include "storage/image/limits.h"
#include "storage/image/manifest.h"
#include "storage/image/sources.h"

namespace pepita::storage {
namespace {

using image::Lock;
using image::TemporaryDirectory;

constexpr std::string_view kVersion = "1\n";
constexpr std::string_view kNames = "names.json";
constexpr std::string_view kTemporary = "temporary";

Result<std::string> read_small(const std::string& path, std::size_t size_max) {
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
    return read_all(file.ref(), size_max, path);
}

Result<void> write_synced(const std::string& path, std::span<const std::byte> bytes) {
    const Fd file = TRY(image::create_file(path));
    TRY(write_all(file.ref(), bytes, path));
    return image::sync_file(file.ref(), path);
}

Result<void> write_synced(const std::string& path, std::string_view text) {
    return write_synced(path, std::as_bytes(std::span(text)));
}

/// Drops what `source` still has, so that it looks at its end.
Result<void> read_to_end(image::ByteSource& source) {
    std::vector<std::byte> rest(std::size_t{64} << 10U);
    while (TRY(source.read(rest)) != 0) {}
    return {};
}

Result<void> check_version(const std::string& path) {
    const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file) {
        return Error::from_errno(errno, "open '" + path + "'");
    }
    const std::string text = TRY(read_all(file.ref(), 64, path));
    if (text.empty()) {
        TRY(write_all(file.ref(), kVersion, path));
        return image::sync_file(file.ref(), path);
    }
    if (text != kVersion) {
        return Error(Code::FailedPrecondition,
                     "'" + path + "' says that the images are of version '" + printable(text) +
                         "'; this program has version 1");
    }
    return {};
}

}  // namespace

Result<std::shared_ptr<Disk>> image_disk(OpenImage image) {
    return concatenation_disk(std::move(image.parts));
}

Result<std::unique_ptr<ImageStore>> ImageStore::open(const std::string& directory) {
    std::unique_ptr<ImageStore> store(new ImageStore(directory));
    std::error_code error;
    (void)std::filesystem::create_directories(directory, error);
    if (error) {
        return Error::from_errno(error.value(), "make directory '" + directory + "'");
    }
    const Fd lock = TRY(store->locked());
    TRY(check_version(store->path("version")));
    for (const std::string_view name : {"layers", "images", "making", "temporary"}) {
        TRY(make_directory(store->path(name), 0700));
    }
    TRY(image::sync_directory(directory));
    TRY(image::remove_stale(store->path(kTemporary)));
    TRY(image::remove_stale(store->path("making")));
    return store;
}

Result<Fd> ImageStore::locked() const {
    Fd file(::open(path("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file) {
        return Error::from_errno(errno, "open '" + path("lock") + "'");
    }
    TRY(image::lock(file.ref(), Lock::Exclusive));
    return file;
}

Result<ImageStore::Names> ImageStore::read_names() const {
    const std::string file = path(kNames);
    Names names;
    if (::access(file.c_str(), F_OK) != 0 && errno == ENOENT) {
        return names;
    }
    const std::string text = TRY(read_small(file, runtime::oci::kJsonSizeMax));
    const runtime::oci::Json json = TRY(runtime::oci::parse_json(text), file);
    for (const auto& [name, id] : TRY(runtime::oci::Node(json, file).members())) {
        names.emplace(name, TRY(parse_digest(TRY(id.text())), id.path()));
    }
    return names;
}

Result<void> ImageStore::write_names(const Names& names) {
    runtime::oci::OrderedJson json = runtime::oci::OrderedJson::object();
    for (const auto& [name, id] : names) {
        json.emplace(name, id.text());
    }
    const std::string text = runtime::oci::dump(json, 1) + "\n";
    if (text.size() > runtime::oci::kJsonSizeMax) {
        return Error(Code::ResourceExhausted, "the images have too many names");
    }
    return image::replace_durably(directory_, std::string(kNames), text);
}

Result<std::vector<Digest>> ImageStore::ids_in(std::string_view folder) const {
    std::vector<Digest> ids;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(path(folder), error)) {
        if (const Result<Digest> id = parse_digest(entry.path().filename().string())) {
            ids.push_back(*id);
        }
    }
    if (error) {
        return Error::from_errno(error.value(), "list '" + path(folder) + "'");
    }
    std::ranges::sort(ids);
    return ids;
}

Result<ImageInfo> ImageStore::info(const Digest& id, const Names& names) const {
    ImageInfo info{.id = id, .names = {}, .layers = {}, .size = {}};
    for (const auto& [name, of] : names) {
        if (of == id) {
            info.names.push_back(name);
        }
    }
    info.layers = TRY(image::parse_image_config(TRY(config(id)))).diff_ids;
    std::vector<std::string> files{image_path(id) + "/metadata"};
    for (const Digest& layer : info.layers) {
        files.push_back(layer_path(layer) + "/data");
    }
    for (const std::string& file : files) {
        struct stat status{};
        if (::stat(file.c_str(), &status) != 0) {
            return Error::from_errno(errno, "look at '" + file + "'");
        }
        info.size = info.size + Bytes(static_cast<std::uint64_t>(status.st_size));
    }
    return info;
}

Result<std::vector<ImageInfo>> ImageStore::list() const {
    const Fd lock = TRY(locked());
    const Names names = TRY(read_names());
    std::vector<ImageInfo> images;
    for (const Digest& id : TRY(ids_in("images"))) {
        images.push_back(TRY(info(id, names), "image ", id.text()));
    }
    return images;
}

Result<std::optional<ImageInfo>> ImageStore::find(std::string_view name_or_id) const {
    const Fd lock = TRY(locked());
    const Names names = TRY(read_names());
    const std::vector<Digest> ids = TRY(ids_in("images"));
    std::optional<Digest> found;
    if (const auto named = names.find(std::string(name_or_id)); named != names.end()) {
        found = named->second;
    } else {
        constexpr std::size_t shortest = 4;
        const bool has_algorithm = name_or_id.starts_with("sha256:");
        const std::string_view digits = name_or_id.substr(has_algorithm ? 7 : 0);
        for (const Digest& id : ids) {
            if (digits.size() < shortest || !id.hex().starts_with(digits)) {
                continue;
            }
            if (found) {
                return Error(Code::InvalidArgument,
                             "several images begin with '" + printable(name_or_id) + "'");
            }
            found = id;
        }
    }
    if (!found || !std::ranges::binary_search(ids, *found)) {
        return std::optional<ImageInfo>();
    }
    return std::optional(TRY(info(*found, names), "image ", found->text()));
}

Result<OpenImage> ImageStore::use(const Digest& id) const {
    const Fd lock = TRY(locked());
    const std::string metadata = image_path(id) + "/metadata";
    if (::access(metadata.c_str(), F_OK) != 0) {
        return Error(Code::NotFound, "there is no image " + id.text());
    }
    OpenImage open;
    open.info = TRY(info(id, TRY(read_names())), "image ", id.text());
    open.config = TRY(config(id));
    open.parts.push_back(TRY(open_file(metadata.c_str(), O_RDONLY)));
    TRY(image::lock(open.parts.back().ref(), Lock::Shared));
    for (const Digest& layer : open.info.layers) {
        auto part = TRY(held(layer));
        if (!part) {
            return Error(Code::DataLoss,
                         "image " + id.text() + ": its layer " + layer.text() + " is missing");
        }
        open.parts.push_back(std::move(part->data));
    }
    // A disk that is too short would be mounted, and fail only when it is read.
    std::array<std::byte, 4> blocks{};
    constexpr std::uint64_t blocks_at = 1024 + 36;
    TRY(read_exactly(open.parts.front().ref(), blocks, blocks_at), metadata);
    std::uint32_t expected = 0;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        expected |= std::to_integer<std::uint32_t>(blocks[i]) << (8 * i);
    }
    if (open.info.size.value() != expected * image::kErofsBlock) {
        return Error(Code::DataLoss, "image " + id.text() + ": its files have other sizes");
    }
    return open;
}

Result<std::string> ImageStore::manifest(const Digest& id) const {
    return read_small(image_path(id) + "/manifest.json", image::ImageLimits::kManifestMax);
}

Result<std::string> ImageStore::config(const Digest& id) const {
    return read_small(image_path(id) + "/config.json", image::ImageLimits::kConfigMax);
}

Result<bool> ImageStore::discard(const std::string& directory, const std::string& locked_file) {
    const Fd file = TRY(open_file((directory + "/" + locked_file).c_str(), O_RDONLY));
    if (!TRY(image::try_lock(file.ref(), Lock::Exclusive))) {
        return false;
    }
    // Away at once and whole; what a crash leaves in temporary/ goes with the next open().
    const auto grave = TRY(TemporaryDirectory::create(path(kTemporary)));
    const std::string target = grave.path() + "/removed";
    if (::rename(directory.c_str(), target.c_str()) != 0) {
        return Error::from_errno(errno, "remove '" + directory + "'");
    }
    return true;
}

Result<void> ImageStore::discard_unused_layers() {
    const Names none;
    std::set<Digest> used;
    for (const Digest& id : TRY(ids_in("images"))) {
        const ImageInfo image = TRY(info(id, none), "image ", id.text());
        used.insert(image.layers.begin(), image.layers.end());
    }
    for (const Digest& layer : TRY(ids_in("layers"))) {
        if (!used.contains(layer)) {
            (void)TRY(discard(layer_path(layer), "data"));
        }
    }
    return image::sync_directory(path("layers"));
}

Result<void> ImageStore::remove(const Digest& id) {
    const Fd lock = TRY(locked());
    if (::access(image_path(id).c_str(), F_OK) != 0 && errno == ENOENT) {
        return {};
    }
    if (!TRY(discard(image_path(id), "metadata"))) {
        return Error(Code::FailedPrecondition, "image " + id.text() + " is in use");
    }
    // Names behind the image: a crash here leaves names of nothing, which find() does not see and
    // the next write drops. The other order could leave an image that was in use without its names.
    Names names = TRY(read_names());
    std::erase_if(names, [&](const auto& name) { return name.second == id; });
    TRY(write_names(names));
    TRY(image::sync_directory(path("images")));
    return discard_unused_layers();
}

Result<std::vector<ImageInfo>> ImageStore::prune() {
    const Fd lock = TRY(locked());
    const Names names = TRY(read_names());
    std::vector<ImageInfo> removed;
    for (const Digest& id : TRY(ids_in("images"))) {
        ImageInfo image = TRY(info(id, names), "image ", id.text());
        if (image.names.empty() && TRY(discard(image_path(id), "metadata"))) {
            removed.push_back(std::move(image));
        }
    }
    TRY(image::sync_directory(path("images")));
    TRY(discard_unused_layers());
    return removed;
}

Result<ImageStoreUsage> ImageStore::usage() const {
    ImageStoreUsage usage;
    std::error_code error;
    const auto count = [&](const std::string& file) {
        struct stat status{};
        if (::lstat(file.c_str(), &status) == 0) {  // else it was removed meanwhile
            usage.used = usage.used + Bytes(static_cast<std::uint64_t>(status.st_blocks) * 512);
            ++usage.inodes;
        }
    };
    count(directory_);
    std::filesystem::recursive_directory_iterator entry(directory_, error);
    while (!error && entry != std::filesystem::recursive_directory_iterator()) {
        count(entry->path().string());
        entry.increment(error);
    }
    if (error && error != std::errc::no_such_file_or_directory) {
        return Error::from_errno(error.value(), "look through '" + directory_ + "'");
    }
    return usage;
}

Result<std::optional<HeldLayer>> ImageStore::held(const Digest& diff_id) const {
    const std::string directory = layer_path(diff_id);
    if (::access(directory.c_str(), F_OK) != 0) {
        return std::optional<HeldLayer>();
    }
    HeldLayer layer{.diff_id = diff_id, .data = {}, .headers = {}};
    layer.data = TRY(open_file((directory + "/data").c_str(), O_RDONLY));
    layer.headers = TRY(open_file((directory + "/headers").c_str(), O_RDONLY));
    TRY(image::lock(layer.data.ref(), Lock::Shared));
    return std::optional(std::move(layer));
}

Result<HeldLayer> ImageStore::layer(const Digest& diff_id, OpenLayer open) {
    const auto find = [&]() -> Result<std::optional<HeldLayer>> {
        const Fd lock = TRY(locked());
        return held(diff_id);
    };
    if (auto layer = TRY(find())) {
        return std::move(*layer);
    }
    // One at a time makes it; the others wait here, and then find it.
    const std::string making = path("making/" + diff_id.hex());
    const Fd turn(::open(making.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!turn) {
        return Error::from_errno(errno, "open '" + making + "'");
    }
    TRY(image::lock(turn.ref(), Lock::Exclusive));
    if (auto layer = TRY(find())) {
        return std::move(*layer);
    }
    Result<HeldLayer> made = make_layer(diff_id, std::move(open));
    // Who waits for the file that is removed here looks for the layer first; who comes later makes
    // a file anew.
    (void)::unlink(making.c_str());
    return made;
}

Result<HeldLayer> ImageStore::make_layer(const Digest& diff_id, OpenLayer open) {
    auto directory = [&]() -> Result<TemporaryDirectory> {
        const Fd lock = TRY(locked());  // no sweep between its making and its lock
        return TemporaryDirectory::create(path(kTemporary));
    }();
    if (!directory) {
        return std::move(directory).error();
    }
    {
        const Fd data = TRY(image::create_file(directory->path() + "/data"));
        const Fd headers = TRY(image::create_file(directory->path() + "/headers"));
        const auto source = TRY(open());
        const auto tar = TRY(image::uncompressed(*source));
        const auto written = TRY(image::write_layer(*tar, data.ref(), headers.ref()));
        TRY(read_to_end(*source));
        if (written.diff_id != diff_id) {
            return Error(Code::DataLoss, "the layer's content is " + written.diff_id.text() +
                                             ", and its image says " + diff_id.text());
        }
        TRY(image::sync_file(data.ref(), "data"));
        TRY(image::sync_file(headers.ref(), "headers"));
    }
    const Fd lock = TRY(locked());
    if (Result<void> moved = directory->move_to(path("layers"), diff_id.hex());
        !moved && moved.error().sys_errno() != EEXIST) {
        return std::move(moved).error();
    }
    auto layer = TRY(held(diff_id));
    CHECK(layer.has_value());
    return std::move(*layer);
}

Result<ImageInfo> ImageStore::add(const NewImage& image, std::span<const HeldLayer> layers) {
    const Digest id = TRY(sha256(std::as_bytes(std::span(image.config))));
    const auto config = TRY(image::parse_image_config(image.config));
    if (!std::ranges::equal(config.diff_ids, layers, {}, {}, &HeldLayer::diff_id)) {
        return Error(Code::InvalidArgument, "the image's config lists other layers");
    }
    const bool is_there = [&] {
        const Result<Fd> lock = locked();
        return ::access(image_path(id).c_str(), F_OK) == 0;
    }();
    if (!is_there) {
        TRY(publish(image, id, layers));
    }
    const Fd lock = TRY(locked());
    Names names = TRY(read_names());
    const std::vector<Digest> ids = TRY(ids_in("images"));
    if (!std::ranges::binary_search(ids, id)) {
        return Error(Code::Aborted, "image " + id.text() + " was removed meanwhile");
    }
    for (const std::string& name : image.names) {
        names.insert_or_assign(name, id);
    }
    std::erase_if(names,
                  [&](const auto& name) { return !std::ranges::binary_search(ids, name.second); });
    TRY(write_names(names));
    return info(id, names);
}

Result<void> ImageStore::publish(const NewImage& image, const Digest& id,
                                 std::span<const HeldLayer> layers) {
    image::ImageTree tree;
    std::vector<std::uint64_t> blocks;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const HeldLayer& layer = layers[i];
        TRY(image::apply_layer(tree, layer.headers.ref(), static_cast<std::uint32_t>(i)), "layer ",
            layer.diff_id.text());
        blocks.push_back(TRY(file_size(layer.data.ref())).value() / image::kErofsBlock);
    }
    std::array<std::uint8_t, 16> uuid{};
    std::ranges::transform(std::span(id.bytes).first<16>(), uuid.begin(),
                           [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
    const std::vector<std::byte> metadata = TRY(image::write_erofs(tree, blocks, uuid));
    auto directory = [&]() -> Result<TemporaryDirectory> {
        const Fd lock = TRY(locked());
        return TemporaryDirectory::create(path(kTemporary));
    }();
    if (!directory) {
        return std::move(directory).error();
    }
    TRY(write_synced(directory->path() + "/metadata", metadata));
    TRY(write_synced(directory->path() + "/config.json", image.config));
    TRY(write_synced(directory->path() + "/manifest.json", image.manifest));
    const Fd lock = TRY(locked());
    if (Result<void> moved = directory->move_to(path("images"), id.hex());
        !moved && moved.error().sys_errno() != EEXIST) {
        return moved;
    }
    return {};
}

}  // namespace pepita::storage
