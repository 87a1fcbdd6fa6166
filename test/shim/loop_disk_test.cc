#include "shim/loop_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/result.h"
#include "vmm/device_config.h"

namespace pepita::shim {
namespace {

constexpr std::size_t kSize = 64UL * 1024;

class LoopDiskTest : public testing::Test {
protected:
    void SetUp() override {
        if (::access("/dev/loop-control", R_OK | W_OK) != 0) {
            GTEST_SKIP() << "this machine has no loop devices";
        }
        file_ = Fd(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
        ASSERT_TRUE(write_all(file_.ref(), std::string(kSize, 'x'), "a file").has_value());
    }

    Fd file_;
};

TEST_F(LoopDiskTest, HasTheBytesOfItsFile) {
    const Result<LoopDisk> disk = LoopDisk::create(file_.ref(), vmm::Access::ReadOnly);
    ASSERT_TRUE(disk.has_value()) << disk.error().message();
    const Result<Fd> device = open_file(disk->path().c_str(), O_RDONLY);
    ASSERT_TRUE(device.has_value());
    std::array<std::byte, 16> bytes{};
    ASSERT_TRUE(read_exactly(device->ref(), bytes, kSize - bytes.size()).has_value());
    EXPECT_EQ(bytes.back(), std::byte{'x'});
}

TEST_F(LoopDiskTest, GoesWithItsLastUser) {
    std::string path;
    {
        const Result<LoopDisk> disk = LoopDisk::create(file_.ref(), vmm::Access::ReadWrite);
        ASSERT_TRUE(disk.has_value()) << disk.error().message();
        path = disk->path();
    }
    const Result<Fd> device = open_file(path.c_str(), O_RDONLY);
    ASSERT_TRUE(device.has_value());
    loop_info64 info{};
    EXPECT_EQ(::ioctl(device->ref().number(), LOOP_GET_STATUS64, &info), -1);
    EXPECT_EQ(errno, ENXIO);
}

TEST_F(LoopDiskTest, APipeIsNoDisk) {
    const auto [from, to] = *make_pipe();
    const Result<LoopDisk> disk = LoopDisk::create(from.ref(), vmm::Access::ReadOnly);
    ASSERT_FALSE(disk.has_value());
    EXPECT_TRUE(disk.error().message().contains("LOOP_CONFIGURE")) << disk.error().message();
}

}  // namespace
}  // namespace pepita::shim
