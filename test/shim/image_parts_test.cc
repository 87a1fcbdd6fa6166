#include "shim/image_parts.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/task_api.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/sources.h"
#include "storage/image_store.h"
#include "test/support/tar.h"

namespace pepita::shim {
namespace {

storage::Digest digest_of(const std::string& text) {
    return *storage::sha256(std::as_bytes(std::span(text)));
}

class ImagePartsTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
        image_.store = scratch_ + "/images";
    }
    void TearDown() override {
        std::error_code ignored;
        std::filesystem::remove_all(scratch_, ignored);
    }
    /// An image of one layer.
    void add_image() {
        store_ = *storage::ImageStore::open(image_.store);
        const std::string tar = test::Tar().file("name", "content").bytes();
        const storage::Digest layer = digest_of(tar);
        std::vector<storage::HeldLayer> layers;
        layers.push_back(
            *store_->layer(layer, [&tar]() -> Result<std::unique_ptr<storage::image::ByteSource>> {
                return std::unique_ptr<storage::image::ByteSource>(
                    std::make_unique<storage::image::MemorySource>(tar));
            }));
        const std::string config = R"({"os":"linux","architecture":"amd64",)"
                                   R"("rootfs":{"type":"layers","diff_ids":[")" +
                                   layer.text() + R"("]}})";
        image_.id =
            store_->add({.config = config, .manifest = "{}", .names = {"a:1"}}, layers)->id.text();
    }
    std::string refusal() const {
        const auto parts = open_image_parts(image_);
        return parts ? "" : parts.error().message();
    }

    std::string scratch_ = "/tmp/pepita-parts-XXXXXX";
    runtime::ImageRoot image_{.store = "", .id = "sha256:" + std::string(64, '0')};
    std::unique_ptr<storage::ImageStore> store_;
};

TEST_F(ImagePartsTest, AnImageIsInUseWhileItsPartsAreOpen) {
    add_image();
    {
        const auto parts = open_image_parts(image_);
        ASSERT_TRUE(parts.has_value()) << parts.error().message();
        EXPECT_EQ(parts->size(), 2U) << "metadata and a layer";
        const storage::Digest id = *storage::parse_digest(image_.id);
        EXPECT_EQ(store_->remove(id).error().code(), Code::FailedPrecondition);
    }
    EXPECT_TRUE(store_->remove(*storage::parse_digest(image_.id)).has_value());
    EXPECT_EQ(refusal(), "image store '" + image_.store + "': there is no image " + image_.id);
}

TEST_F(ImagePartsTest, R5_AStoreThatIsNotThereIsNotMade) {
    EXPECT_EQ(refusal(), "image store '" + image_.store + "': open '" + image_.store +
                             "': No such file or directory (ENOENT)");
    EXPECT_FALSE(std::filesystem::exists(image_.store));
}

TEST_F(ImagePartsTest, R5_AnIdThatIsNoneIsNamed) {
    add_image();
    image_.id = "sha256:12";
    EXPECT_TRUE(refusal().starts_with("image 'sha256:12': ")) << refusal();
}

}  // namespace
}  // namespace pepita::shim
