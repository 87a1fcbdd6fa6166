#include "storage/image/manifest.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <variant>

#include "kernel-abi/sys/error.h"
#include "storage/digest.h"
#include "storage/image/limits.h"

namespace pepita::storage::image {
namespace {

const std::string kDigest = Digest{}.text();
constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar+gzip";

std::string descriptor(std::string_view type, std::string_view more = "") {
    return R"({"mediaType":")" + std::string(type) + R"(","digest":")" + kDigest + R"(","size":3)" +
           std::string(more) + "}";
}

std::string manifest(std::string_view layer_type, std::string_view more = "") {
    return R"({"schemaVersion":2,"config":)" +
           descriptor("application/vnd.oci.image.config.v1+json") + R"(,"layers":[)" +
           descriptor(layer_type) + "]" + std::string(more) + "}";
}

std::string message_of(std::string_view text, std::string_view type = "") {
    const auto parsed = parse_manifest(text, type);
    return parsed ? "" : parsed.error().message();
}

TEST(Manifest, IsOciOrDocker) {
    for (const std::string_view type :
         {kOciLayer, std::string_view("application/vnd.docker.image.rootfs.diff.tar.gzip"),
          std::string_view("application/vnd.oci.image.layer.v1.tar+zstd")}) {
        const auto parsed = parse_manifest(manifest(type));
        ASSERT_TRUE(parsed) << parsed.error().message();
        const auto& found = std::get<Manifest>(*parsed);
        ASSERT_EQ(found.layers.size(), 1U);
        EXPECT_EQ(found.layers[0].media_type, type);
        EXPECT_EQ(found.layers[0].size, 3U);
    }
}

TEST(Manifest, RefusesForeignLayersByName) {
    EXPECT_EQ(message_of(manifest("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
              "manifest: layer " + kDigest + " is a foreign one, which its registry does not have");
    EXPECT_NE(message_of(manifest("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")),
              "");
}

TEST(Manifest, RefusesWhatIsNoImage) {
    EXPECT_NE(message_of(manifest("text/plain")).find("media type 'text/plain'"),
              std::string::npos);
    EXPECT_NE(message_of(R"({"schemaVersion":1})").find("schema version 2"), std::string::npos);
    EXPECT_NE(message_of("[]"), "");
    EXPECT_NE(message_of(manifest(kOciLayer, R"(,"manifests":[])")).find("an index as well"),
              std::string::npos);
    EXPECT_NE(message_of(manifest(kOciLayer), "application/vnd.oci.image.index.v1+json")
                  .find("not what its media type"),
              std::string::npos);
}

TEST(Manifest, RefusesMoreLayersThanAnImageMayHave) {
    const auto with = [](std::size_t count) {
        std::string layers;
        for (std::size_t i = 0; i < count; ++i) {
            layers += (i == 0 ? "" : ",") + descriptor(kOciLayer);
        }
        return R"({"schemaVersion":2,"config":)" +
               descriptor("application/vnd.oci.image.config.v1+json") + R"(,"layers":[)" + layers +
               "]}";
    };
    EXPECT_EQ(message_of(with(ImageLimits::kLayersMax)), "");
    EXPECT_NE(message_of(with(ImageLimits::kLayersMax + 1)), "");
}

std::string index_of(std::string_view first, std::string_view second) {
    constexpr std::string_view type = "application/vnd.oci.image.manifest.v1+json";
    return R"({"schemaVersion":2,"manifests":[)" + descriptor(type, first) + "," +
           descriptor(type, second) + "]}";
}

TEST(Index, HasAManifestForEachPlatform) {
    const auto parsed = parse_manifest(index_of(
        R"(,"platform":{"os":"linux","architecture":"arm64","variant":"v8"},"annotations":{"org.opencontainers.image.ref.name":"arm"})",
        R"(,"platform":{"os":"linux","architecture":"amd64"})"));
    ASSERT_TRUE(parsed);
    const auto& index = std::get<Index>(*parsed);
    EXPECT_TRUE(select_platform(index, {.os = "linux", .architecture = "amd64", .variant = ""}));
    const auto arm =
        select_platform(index, {.os = "linux", .architecture = "arm64", .variant = ""});
    ASSERT_TRUE(arm);
    EXPECT_EQ(arm->ref_name, "arm");
    const auto none =
        select_platform(index, {.os = "linux", .architecture = "s390x", .variant = ""});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code(), Code::NotFound);
    EXPECT_EQ(none.error().message(),
              "there is no image for linux/s390x, but for linux/arm64/v8, linux/amd64");
}

TEST(ImageConfig, ListsItsLayers) {
    const auto config = parse_image_config(
        R"({"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[")" +
        kDigest + R"("]}})");
    ASSERT_TRUE(config);
    EXPECT_EQ(config->diff_ids.size(), 1U);
    EXPECT_FALSE(parse_image_config("{}"));
    EXPECT_FALSE(parse_image_config(R"({"rootfs":{"diff_ids":["sha256:0"]}})"));
}

}  // namespace
}  // namespace pepita::storage::image
