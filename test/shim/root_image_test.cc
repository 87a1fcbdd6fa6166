#include "shim/root_image.h"

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

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {
namespace {

constexpr std::uint32_t kErofsMagic = 0xE0F5E1E2;  // Linux fs/erofs/erofs_fs.h
constexpr off_t kErofsSuperblockAt = 1024;

class RootImageTest : public testing::Test {
protected:
    void SetUp() override {
        if (::access("/usr/bin/mkfs.erofs", X_OK) != 0) {
            GTEST_SKIP() << "mkfs.erofs (package erofs-utils) is not installed";
        }
        ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
        ASSERT_EQ(::mkdir((scratch_ + "/root").c_str(), 0755), 0);
    }
    void TearDown() override {
        (void)::rmdir((scratch_ + "/root").c_str());
        EXPECT_EQ(::rmdir(scratch_.c_str()), 0) << "something was left in " << scratch_;
    }

    void pack(const std::string& directory, const std::string& scratch) {
        auto packing = RootImage::pack(*loop_, directory, scratch, [this](Result<Fd> image) {
            image_.emplace(std::move(image));
            loop_->stop();
        });
        ASSERT_TRUE(packing.has_value());
        ASSERT_TRUE(loop_->run().has_value());
    }

    std::string scratch_ = "/tmp/pepita-image-XXXXXX";
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::optional<Result<Fd>> image_;
};

TEST_F(RootImageTest, PacksADirectoryIntoAnErofsThatHasNoName) {
    pack(scratch_ + "/root", scratch_);
    ASSERT_TRUE(image_->has_value());
    std::uint32_t magic = 0;
    ASSERT_EQ(::pread((*image_)->ref().number(), &magic, sizeof(magic), kErofsSuperblockAt),
              static_cast<ssize_t>(sizeof(magic)));
    EXPECT_EQ(magic, kErofsMagic);
    struct stat about{};
    ASSERT_EQ(::fstat((*image_)->ref().number(), &about), 0);
    EXPECT_EQ(about.st_nlink, 0U);
    EXPECT_EQ(about.st_size % 512, 0);
}

TEST_F(RootImageTest, AMissingDirectoryIsNamedInTheToolsOwnWords) {
    pack(scratch_ + "/nothing", scratch_);
    ASSERT_FALSE(image_->has_value());
    EXPECT_NE(image_->error().message().find("mkfs.erofs"), std::string::npos);
}

TEST_F(RootImageTest, AFullDiskIsSaidToBeFull) {
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

}  // namespace
}  // namespace pepita::shim
