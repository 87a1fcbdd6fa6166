#include "storage/image_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
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
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/sources.h"
#include "test/support/small_tmpfs.h"
#include "test/support/tar.h"

namespace pepita::storage {
namespace {

namespace fs = std::filesystem;

Digest digest_of(std::string_view text) { return *sha256(std::as_bytes(std::span(text))); }

/// Bytes of its own.
class TextSource final : public image::ByteSource {
public:
    explicit TextSource(std::string text) : text_(std::move(text)), bytes_(text_) {}
    Result<std::size_t> read(std::span<std::byte> into) override { return bytes_.read(into); }

private:
    std::string text_;
    image::MemorySource bytes_;
};

ImageStore::OpenLayer from(const std::string& tar) {
    return [tar]() -> Result<std::unique_ptr<image::ByteSource>> {
        return std::unique_ptr<image::ByteSource>(std::make_unique<TextSource>(tar));
    };
}

std::string config_of(const std::vector<std::string>& layers, std::string_view more = "") {
    std::string ids;
    for (const std::string& layer : layers) {
        ids += (ids.empty() ? "\"" : ",\"") + digest_of(layer).text() + "\"";
    }
    return R"({"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[)" + ids +
           "]}" + std::string(more) + "}";
}

class ImageStoreTest : public testing::Test {
protected:
    void SetUp() override {
        std::string path = fs::temp_directory_path() / "pepita-images-XXXXXX";
        ASSERT_NE(::mkdtemp(path.data()), nullptr);
        directory_ = path;
        open();
    }
    void TearDown() override { fs::remove_all(directory_); }
    void open() {
        auto store = ImageStore::open(directory_);
        ASSERT_TRUE(store) << store.error().message();
        store_ = std::move(*store);
    }
    Result<ImageInfo> add(const std::vector<std::string>& tars, std::vector<std::string> names,
                          std::string_view more = "") {
        std::vector<HeldLayer> layers;
        for (const std::string& tar : tars) {
            layers.push_back(TRY(store_->layer(digest_of(tar), from(tar))));
        }
        return store_->add(
            {.config = config_of(tars, more), .manifest = "{}", .names = std::move(names)}, layers);
    }
    std::size_t count(std::string_view folder) const {
        std::size_t found = 0;
        for ([[maybe_unused]] const auto& entry :
             fs::directory_iterator(directory_ + "/" + std::string(folder))) {
            ++found;
        }
        return found;
    }
    /// What a store may have when nothing is under way.
    void expect_clean() const {
        EXPECT_EQ(count("temporary"), 0U);
        EXPECT_EQ(count("making"), 0U);
    }

    std::string directory_;
    std::unique_ptr<ImageStore> store_;
    std::string base_ = test::Tar().directory("etc/").file("etc/name", "base").bytes();
    std::string upper_ = test::Tar().file("etc/name", "upper").bytes();
};

TEST_F(ImageStoreTest, HasWhatWasAddedAlsoWhenOpenedAgain) {
    const auto added = add({base_, upper_}, {"a:1"});
    ASSERT_TRUE(added) << added.error().message();
    open();
    const auto images = store_->list();
    ASSERT_TRUE(images);
    ASSERT_EQ(images->size(), 1U);
    EXPECT_EQ(images->front().id, digest_of(config_of({base_, upper_})));
    EXPECT_EQ(images->front().names, std::vector<std::string>{"a:1"});
    EXPECT_EQ(images->front().layers, (std::vector{digest_of(base_), digest_of(upper_)}));
    EXPECT_EQ(images->front().size, Bytes(3 * 4096));  // metadata and a block in each layer
    EXPECT_TRUE((*store_->find("a:1")).has_value());
    EXPECT_TRUE((*store_->find(added->id.hex().substr(0, 12))).has_value());
    EXPECT_TRUE((*store_->find(added->id.text())).has_value());
    EXPECT_FALSE((*store_->find("a:2")).has_value());
    EXPECT_EQ(*store_->manifest(added->id), "{}");
    EXPECT_EQ(*store_->config(added->id), config_of({base_, upper_}));
    EXPECT_EQ(store_->config(digest_of("another")).error().code(), Code::NotFound);
    expect_clean();
}

TEST_F(ImageStoreTest, GivesTheDiskAsItsParts) {
    const auto added = add({base_, upper_}, {"a:1"});
    auto open = store_->use(added->id);
    ASSERT_TRUE(open) << open.error().message();
    EXPECT_EQ(open->config, config_of({base_, upper_}));
    ASSERT_EQ(open->parts.size(), 3U);
    std::string bytes(5, '\0');
    ASSERT_TRUE(read_exactly(open->parts[2].ref(), std::as_writable_bytes(std::span(bytes)), 0));
    EXPECT_EQ(bytes, "upper");
    const auto disk = image_disk(std::move(*open));
    ASSERT_TRUE(disk);
    EXPECT_EQ((*disk)->capacity(), Sectors(24));
}

TEST_F(ImageStoreTest, ImagesShareTheirLayers) {
    ASSERT_TRUE(add({base_}, {"a:1"}));
    ASSERT_TRUE(add({base_, upper_}, {"b:1"}));
    EXPECT_EQ(count("layers"), 2U);
    const auto b = *store_->find("b:1");
    ASSERT_TRUE(store_->remove(b->id));
    EXPECT_EQ(count("layers"), 1U);
    const auto a = *store_->find("a:1");
    EXPECT_TRUE(store_->use(a->id));
    ASSERT_TRUE(store_->remove(a->id));
    EXPECT_EQ(count("layers"), 0U);
    EXPECT_TRUE(store_->remove(a->id));  // is nothing
    expect_clean();
}

TEST_F(ImageStoreTest, ANameMovesToTheImageThatTakesIt) {
    const auto first = add({base_}, {"a:latest", "a:1"});
    const auto second = add({upper_}, {"a:latest"});
    EXPECT_EQ((*store_->find("a:latest"))->id, second->id);
    EXPECT_EQ((*store_->find(first->id.text()))->names, std::vector<std::string>{"a:1"});
}

TEST_F(ImageStoreTest, KeepsWhatIsInUseUntilTheLastCopyIsClosed) {
    const auto added = add({base_}, {"a:1"});
    std::optional<OpenImage> open = *store_->use(added->id);
    Fd copy = *duplicate(open->parts[0].ref());
    open.reset();
    const auto removed = store_->remove(added->id);
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code(), Code::FailedPrecondition);
    EXPECT_EQ(removed.error().message(), "image " + added->id.text() + " is in use");
    EXPECT_TRUE((*store_->find("a:1")).has_value());
    copy = Fd();
    EXPECT_TRUE(store_->remove(added->id));
}

TEST_F(ImageStoreTest, PruneKeepsNamedUsedAndHeld) {
    const auto named = add({base_}, {"a:1"});
    const auto used = add({base_}, {}, R"(,"x":1)");
    const auto idle = add({base_}, {}, R"(,"x":2)");
    const auto held = *store_->layer(digest_of(upper_), from(upper_));
    const auto open = *store_->use(used->id);
    const auto pruned = store_->prune();
    ASSERT_TRUE(pruned);
    ASSERT_EQ(pruned->size(), 1U);
    EXPECT_EQ(pruned->front().id, idle->id);
    EXPECT_EQ(count("images"), 2U);
    EXPECT_EQ(count("layers"), 2U);
    expect_clean();
}

TEST_F(ImageStoreTest, RefusesALayerThatIsNotWhatTheImageSays) {
    const auto layer = store_->layer(digest_of("other"), from(base_));
    ASSERT_FALSE(layer);
    EXPECT_EQ(layer.error().code(), Code::DataLoss);
    EXPECT_EQ(count("layers"), 0U);
    expect_clean();
}

TEST_F(ImageStoreTest, ALayerThatFailsLeavesNothing) {
    const auto layer = store_->layer(digest_of("x"), from(base_.substr(0, 600)));
    EXPECT_EQ(layer.error().message(), "the tar archive is truncated");
    EXPECT_EQ(count("layers"), 0U);
    expect_clean();
    EXPECT_TRUE(store_->layer(digest_of(base_), from(base_)));
}

TEST_F(ImageStoreTest, TwoThatWantOneLayerMakeItOnce) {
    std::atomic<int> made = 0;
    std::atomic<int> right = 0;
    const auto want = [&] {
        const auto layer = store_->layer(digest_of(base_), [&]() {
            ++made;
            return from(base_)();
        });
        right += layer.has_value() ? 1 : 0;
    };
    {
        std::vector<Thread> threads;
        for (int i = 0; i < 8; ++i) {
            threads.push_back(*Thread::start("want", want));
        }
    }
    EXPECT_EQ(made, 1);
    EXPECT_EQ(right, 8);
    expect_clean();
}

TEST_F(ImageStoreTest, SaysThatADamagedImageIsDamaged) {
    const auto added = add({base_}, {"a:1"});
    fs::resize_file(directory_ + "/layers/" + digest_of(base_).hex() + "/data", 8192);
    const auto open = store_->use(added->id);
    ASSERT_FALSE(open);
    EXPECT_EQ(open.error().code(), Code::DataLoss);
}

TEST_F(ImageStoreTest, RefusesAnotherVersion) {
    fs::remove(directory_ + "/version");
    const Fd file = *open_to_append(directory_ + "/version", 0600);
    ASSERT_TRUE(write_all(file.ref(), "2\n", "version"));
    EXPECT_EQ(ImageStore::open(directory_).error().code(), Code::FailedPrecondition);
}

TEST_F(ImageStoreTest, CountsWhatItTakes) {
    const auto before = *store_->usage();
    ASSERT_TRUE(add({base_}, {"a:1"}));
    const auto after = *store_->usage();
    // Two directories, two files of the layer, three of the image, and the names.
    EXPECT_EQ(after.inodes, before.inodes + 8);
    EXPECT_GE(after.used.value(), before.used.value() + 4096);
    ASSERT_TRUE(store_->remove((*store_->find("a:1"))->id));
    EXPECT_EQ(store_->usage()->inodes, before.inodes + 1);
}

TEST_F(ImageStoreTest, AFullDiskFailsAPullAndNothingElse) {
    const Fd small = test::small_tmpfs(1_MiB);
    if (!small) {
        GTEST_SKIP() << "no tmpfs may be made here";
    }
    const std::string path = "/proc/self/fd/" + std::to_string(small.ref().number()) + "/images";
    store_ = *ImageStore::open(path);
    ASSERT_TRUE(add({base_}, {"a:1"}));
    const std::string large = test::Tar().file("large", std::string(2U << 20U, 'x')).bytes();
    const auto layer = store_->layer(digest_of(large), from(large));
    ASSERT_FALSE(layer);
    EXPECT_EQ(layer.error().message(),
              "'large': write the layer's data: No space left on device (ENOSPC)");
    EXPECT_TRUE(fs::is_empty(path + "/temporary"));
    EXPECT_TRUE(add({upper_}, {"b:1"}));
    EXPECT_TRUE(store_->use((*store_->find("a:1"))->id));
}

/// A process that adds and removes images is killed at any moment: the store opens, has only whole
/// images, and takes the next.
TEST_F(ImageStoreTest, AKilledProcessLeavesARightStore) {
    ASSERT_TRUE(add({base_}, {"kept:1"}));
    for (int round = 0; round < 25; ++round) {
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            for (int i = 0;; ++i) {
                const std::string tar = test::Tar().file("n", std::to_string(i % 3)).bytes();
                const auto added = add({base_, tar}, {"moving:1"});
                if (!added || (i % 2 == 1 && !store_->remove(added->id))) {
                    ::_exit(1);
                }
            }
        }
        int status = 0;
        const timespec time{.tv_sec = 0, .tv_nsec = 1'000'000L + round * 700'000L};
        ::sigset_t none;
        ::sigemptyset(&none);
        (void)::sigtimedwait(&none, nullptr, &time);
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself";
        open();
        ASSERT_EQ(count("temporary"), 0U);
        const auto images = store_->list();
        ASSERT_TRUE(images);
        for (const ImageInfo& image : *images) {
            const auto used = store_->use(image.id);
            ASSERT_TRUE(used) << used.error().message();
        }
        ASSERT_TRUE((*store_->find("kept:1")).has_value());
    }
    ASSERT_TRUE(store_->prune());
    const auto images = store_->list();
    ASSERT_TRUE(images);
    for (const ImageInfo& image : *images) {
        ASSERT_FALSE(image.names.empty());
    }
}

}  // namespace
}  // namespace pepita::storage
