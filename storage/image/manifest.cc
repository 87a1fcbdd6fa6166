#include "storage/image/manifest.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/rpc/json.h"
#include "storage/digest.h"
#include "storage/image/limits.h"

namespace pepita::storage::image {
namespace {

using runtime::oci::Json;
using runtime::oci::Node;
using runtime::oci::Object;
using runtime::oci::parse_json;

constexpr std::array<std::string_view, 2> kIndexTypes{
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json"};
constexpr std::array<std::string_view, 2> kManifestTypes{
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json"};
constexpr std::array<std::string_view, 2> kConfigTypes{
    "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"};
constexpr std::array<std::string_view, 5> kLayerTypes{
    "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip"};
constexpr std::size_t kManifestsMax = 1024;

bool is_one_of(std::span<const std::string_view> types, std::string_view type) {
    return std::ranges::find(types, type) != types.end();
}

Result<Platform> read_platform(const Object& object) {
    return Platform{.os = TRY(object.text_or_empty("os")),
                    .architecture = TRY(object.text_or_empty("architecture")),
                    .variant = TRY(object.text_or_empty("variant"))};
}

Result<Descriptor> read_descriptor(const Node& node) {
    const Object object = TRY(node.object());
    Descriptor descriptor;
    descriptor.media_type = TRY(TRY(object.require("mediaType")).text());
    const Node digest = TRY(object.require("digest"));
    descriptor.digest = TRY(parse_digest(TRY(digest.text())), digest.path());
    descriptor.size = TRY(TRY(object.require("size")).natural(INT64_MAX));
    if (const auto platform = object.find("platform")) {
        descriptor.platform = TRY(read_platform(TRY(platform->object())));
    }
    const Object annotations = TRY(object.object_or_empty("annotations"));
    descriptor.ref_name = TRY(annotations.text_or_empty("org.opencontainers.image.ref.name"));
    return descriptor;
}

Result<Descriptor> read_layer(const Node& node) {
    Descriptor layer = TRY(read_descriptor(node));
    const std::string& type = layer.media_type;
    if (type.find("nondistributable") != std::string::npos ||
        type.find(".foreign.") != std::string::npos) {
        return Error(Code::Unsupported, "layer " + layer.digest.text() +
                                            " is a foreign one, which its registry does not have");
    }
    if (!is_one_of(kLayerTypes, type)) {
        return Error(Code::Unsupported,
                     "layer " + layer.digest.text() + " has media type '" + printable(type) + "'");
    }
    return layer;
}

Result<Manifest> read_manifest(const Object& object) {
    Manifest manifest;
    manifest.config = TRY(read_descriptor(TRY(object.require("config"))));
    if (!is_one_of(kConfigTypes, manifest.config.media_type)) {
        return Error(Code::Unsupported, "it is no image: its config has media type '" +
                                            printable(manifest.config.media_type) + "'");
    }
    const std::vector<Node> layers = TRY(TRY(object.require("layers")).elements());
    if (layers.size() > ImageLimits::kLayersMax) {
        return Error(Code::ResourceExhausted,
                     "the image has " + std::to_string(layers.size()) + " layers; at most " +
                         std::to_string(ImageLimits::kLayersMax) + " are taken");
    }
    for (const Node& layer : layers) {
        manifest.layers.push_back(TRY(read_layer(layer)));
    }
    return manifest;
}

Result<Index> read_index(const Node& manifests) {
    Index index;
    const std::vector<Node> elements = TRY(manifests.elements());
    if (elements.size() > kManifestsMax) {
        return Error(Code::ResourceExhausted,
                     "the index has more than " + std::to_string(kManifestsMax) + " manifests");
    }
    for (const Node& element : elements) {
        index.manifests.push_back(TRY(read_descriptor(element)));
    }
    return index;
}

std::string name_of(const Platform& platform) {
    return printable(platform.os + "/" + platform.architecture +
                     (platform.variant.empty() ? "" : "/" + platform.variant));
}

/// "arm64" means "arm64/v8" (containerd/platforms, normalizeArch).
std::string variant_of(const Platform& platform) {
    return platform.architecture == "arm64" && platform.variant.empty() ? "v8" : platform.variant;
}

}  // namespace

Platform Platform::host() {
#if defined(__x86_64__)
    return {.os = "linux", .architecture = "amd64", .variant = ""};
#elif defined(__aarch64__)
    return {.os = "linux", .architecture = "arm64", .variant = "v8"};
#else
#error "which architecture do images have here?"
#endif
}

Result<std::variant<Manifest, Index>> parse_manifest(std::string_view text,
                                                     std::string_view media_type) {
    using Either = std::variant<Manifest, Index>;
    const Json json = TRY(parse_json(text), "manifest");
    const Object object = TRY(Node(json, "manifest").object());
    const auto version = object.find("schemaVersion");
    if (!version || TRY(version->natural(UINT32_MAX)) != 2) {
        return Error(Code::Unsupported, "the manifest is not of schema version 2");
    }
    std::string declared = TRY(object.text_or_empty("mediaType"));
    declared = declared.empty() ? std::string(media_type) : declared;
    const auto manifests = object.find("manifests");
    const bool is_index = manifests.has_value();
    if (is_index && object.find("layers")) {
        return Error(Code::InvalidArgument, "the manifest is an index as well");
    }
    for (const std::string_view type : {std::string_view(declared), media_type}) {
        if (is_one_of(is_index ? kManifestTypes : kIndexTypes, type)) {
            return Error(Code::InvalidArgument,
                         "the manifest is not what its media type '" + printable(type) + "' says");
        }
    }
    if (is_index) {
        return Either(TRY(read_index(*manifests), "index"));
    }
    return Either(TRY(read_manifest(object), "manifest"));
}

Result<Descriptor> select_platform(const Index& index, const Platform& platform) {
    std::string others;
    for (const Descriptor& manifest : index.manifests) {
        const bool is_known = is_one_of(kManifestTypes, manifest.media_type);
        const bool is_same = manifest.platform && manifest.platform->os == platform.os &&
                             manifest.platform->architecture == platform.architecture &&
                             variant_of(*manifest.platform) == variant_of(platform);
        if (is_known && (is_same || (!manifest.platform && index.manifests.size() == 1))) {
            return manifest;
        }
        if (manifest.platform && others.size() < 256) {
            others += (others.empty() ? "" : ", ") + name_of(*manifest.platform);
        }
    }
    return Error(Code::NotFound, "there is no image for " + name_of(platform) +
                                     (others.empty() ? "" : ", but for " + others));
}

Result<ImageConfig> parse_image_config(std::string_view text) {
    const Json json = TRY(parse_json(text), "image config");
    const Object object = TRY(Node(json, "image config").object());
    ImageConfig config;
    config.platform = TRY(read_platform(object));
    const Object rootfs = TRY(TRY(object.require("rootfs")).object());
    const std::vector<std::string> ids = TRY(rootfs.texts_or_empty("diff_ids"));
    if (ids.size() > ImageLimits::kLayersMax) {
        return Error(Code::ResourceExhausted, "the image has too many layers");
    }
    for (const std::string& id : ids) {
        config.diff_ids.push_back(TRY(parse_digest(id), "image config: rootfs.diff_ids"));
    }
    return config;
}

}  // namespace pepita::storage::image
