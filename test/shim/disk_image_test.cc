#include "shim/disk_image.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::shim {
namespace {

constexpr std::uint32_t kErofsMagic = 0xE0F5E1E2;  // Linux fs/erofs/erofs_fs.h
constexpr off_t kErofsSuperblockAt = 1024;
constexpr off_t kExt4At = 1024;
constexpr std::uint16_t kExt4Magic = 0xEF53;

class DiskImageTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
        ASSERT_EQ(::mkdir((scratch_ + "/root").c_str(), 0755), 0);
        if (::access("/usr/bin/mkfs.erofs", X_OK) != 0 ||
            ::access("/usr/sbin/mkfs.ext4", X_OK) != 0) {
            GTEST_SKIP() << "mkfs (packages erofs-utils and e2fsprogs) is not installed";
        }
    }
    void TearDown() override {
        (void)::rmdir((scratch_ + "/root").c_str());
        EXPECT_EQ(::rmdir(scratch_.c_str()), 0) << "something was left in " << scratch_;
    }

    DiskImage::OnMade keep() {
        return [this](Result<Fd> image) {
            image_.emplace(std::move(image));
            loop_->stop();
        };
    }
    void pack(const std::string& directory, const std::string& scratch) {
        auto packing = DiskImage::pack(*loop_, directory, scratch, keep());
        ASSERT_TRUE(packing.has_value());
        ASSERT_TRUE(loop_->run().has_value());
    }
    void format(Bytes size, const std::string& scratch) {
        loop_ = *EventLoop::create();  // one that has stopped stays so
        auto formatting = DiskImage::format(*loop_, size, scratch, keep());
        ASSERT_TRUE(formatting.has_value());
        ASSERT_TRUE(loop_->run().has_value());
    }
    // Only of an image that was made.
    int number() const { return (*image_)->ref().number(); }
    template <typename T>
    T at(off_t offset) const {
        T value{};
        EXPECT_EQ(::pread(number(), &value, sizeof(value), offset),
                  static_cast<ssize_t>(sizeof(value)));
        return value;
    }

    std::string scratch_ = "/tmp/pepita-image-XXXXXX";
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::optional<Result<Fd>> image_;
};

TEST_F(DiskImageTest, PacksADirectoryIntoAnErofsThatHasNoName) {
    pack(scratch_ + "/root", scratch_);
    ASSERT_TRUE(image_->has_value());
    EXPECT_EQ(at<std::uint32_t>(kErofsSuperblockAt), kErofsMagic);
    struct stat about{};
    ASSERT_EQ(::fstat(number(), &about), 0);
    EXPECT_EQ(about.st_nlink, 0U);
    EXPECT_EQ(about.st_size % 512, 0);
}

TEST_F(DiskImageTest, AnEmptyExt4HasTheWholeSizeAndTakesLittleRoom) {
    for (const Bytes size : {16_MiB, 1024_MiB, 65536_MiB}) {
        format(size, scratch_);
        ASSERT_TRUE(image_->has_value()) << image_->error().message();
        struct stat about{};
        ASSERT_EQ(::fstat(number(), &about), 0);
        EXPECT_EQ(static_cast<std::uint64_t>(about.st_size), size.value());
        EXPECT_EQ(about.st_nlink, 0U);
        EXPECT_LT(static_cast<std::uint64_t>(about.st_blocks) * 512, size.value() / 1000 + 262'144);
        // Linux fs/ext4/ext4.h, struct ext4_super_block.
        EXPECT_EQ(at<std::uint16_t>(kExt4At + 0x38), kExt4Magic);
        EXPECT_EQ(at<std::uint32_t>(kExt4At + 0x4), size.value() / 4096) << "blocks";
        EXPECT_EQ(at<std::uint32_t>(kExt4At + 0x18), 2U) << "4 KiB each";
        EXPECT_EQ(at<std::uint32_t>(kExt4At + 0x8), 0U) << "kept for root";
        EXPECT_EQ(at<std::uint32_t>(kExt4At + 0x5c) & 0x4U, 0U) << "a journal";
    }
}

TEST_F(DiskImageTest, FilesBecomeOneInTheirOrder) {
    std::vector<Fd> parts;
    for (const char* text : {"one ", "", "three"}) {
        parts.emplace_back(::open(scratch_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
        ASSERT_TRUE(write_all(parts.back().ref(), text, "a part").has_value());
    }
    auto making = DiskImage::concatenate(*loop_, parts, scratch_, keep());
    ASSERT_TRUE(making.has_value());
    ASSERT_TRUE(loop_->run().has_value());
    ASSERT_TRUE(image_->has_value()) << image_->error().message();
    std::array<char, 9> bytes{};
    ASSERT_EQ(::pread((*image_)->ref().number(), bytes.data(), bytes.size(), 0), 9);
    EXPECT_EQ(std::string(bytes.data(), bytes.size()), "one three");
}

TEST_F(DiskImageTest, ADiskThatIsTooSmallIsRefusedInTheToolsOwnWords) {
    format(Bytes(8192), scratch_);
    ASSERT_FALSE(image_->has_value());
    EXPECT_NE(image_->error().message().find("mkfs.ext4: exit status 1"), std::string::npos)
        << image_->error().message();
}

TEST_F(DiskImageTest, AMissingDirectoryIsNamedInTheToolsOwnWords) {
    pack(scratch_ + "/nothing", scratch_);
    ASSERT_FALSE(image_->has_value());
    EXPECT_NE(image_->error().message().find("mkfs.erofs"), std::string::npos);
}

TEST_F(DiskImageTest, AFullDiskIsSaidToBeFull) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root to mount a small tmpfs";
    }
    const std::string small = scratch_ + "/root";
    ASSERT_EQ(::mount("small", small.c_str(), "tmpfs", 0, "size=64k"), 0);
    pack("/usr/lib/x86_64-linux-gnu/gconv", small);
    EXPECT_EQ(::umount2(small.c_str(), MNT_DETACH), 0);
    ASSERT_FALSE(image_->has_value());
    EXPECT_EQ(image_->error().sys_errno(), ENOSPC);
}

TEST_F(DiskImageTest, AFullDiskIsSaidToBeFullByTheOtherToolToo) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root to mount a small tmpfs";
    }
    const std::string small = scratch_ + "/root";
    ASSERT_EQ(::mount("small", small.c_str(), "tmpfs", 0, "size=64k"), 0);
    format(1024_MiB, small);
    EXPECT_EQ(::umount2(small.c_str(), MNT_DETACH), 0);
    ASSERT_FALSE(image_->has_value());
    EXPECT_EQ(image_->error().sys_errno(), ENOSPC);
}

}  // namespace
}  // namespace pepita::shim
