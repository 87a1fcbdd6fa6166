#include "runtime/guest/machine_setup.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "kernel-abi/sys/error.h"

namespace pepita::runtime::guest {
namespace {

// A /sys/block of our own.
class FindDiskTest : public testing::Test {
protected:
    FindDiskTest() { EXPECT_NE(::mkdtemp(sys_block_.data()), nullptr); }
    ~FindDiskTest() override { std::filesystem::remove_all(sys_block_); }

    void add(const std::string& name, const std::string& serial) {
        std::filesystem::create_directory(sys_block_ + "/" + name);
        std::ofstream(sys_block_ + "/" + name + "/serial") << serial;
    }

    std::string sys_block_ = "/tmp/pepita-block-XXXXXX";
};

TEST_F(FindDiskTest, ADiskIsFoundByItsWholeSerial) {
    add("vda", "disk1");
    add("vdb", "disk10");
    add("vdc", "disk100\n");
    EXPECT_EQ(find_disk("disk1", sys_block_).value(), "/dev/vda");
    EXPECT_EQ(find_disk("disk10", sys_block_).value(), "/dev/vdb");
    EXPECT_EQ(find_disk("disk100", sys_block_).value(), "/dev/vdc");
}

TEST_F(FindDiskTest, DevicesWithoutASerialArePassedOver) {
    std::filesystem::create_directory(sys_block_ + "/ram0");
    add("vdb", "disk1");
    EXPECT_EQ(find_disk("disk1", sys_block_).value(), "/dev/vdb");
}

TEST_F(FindDiskTest, OneThatIsNotThereIsNamed) {
    add("vda", "disk1");
    const auto found = find_disk("disk2", sys_block_);
    ASSERT_FALSE(found.has_value());
    EXPECT_EQ(found.error().code(), Code::NotFound);
    EXPECT_EQ(found.error().message(), "no disk has the serial 'disk2'");
}

TEST_F(FindDiskTest, NoSerialIsNoDisksSerial) {
    add("vda", "");
    EXPECT_EQ(find_disk("", sys_block_).error().code(), Code::NotFound);
}

TEST_F(FindDiskTest, AMissingFolderIsNamed) {
    EXPECT_EQ(find_disk("disk1", sys_block_ + "/none").error().message(),
              "open '" + sys_block_ + "/none': No such file or directory (ENOENT)");
}

TEST(LoadModules, AMissingListIsAnErrorAndAMissingModuleIsNot) {
    std::string list = "/tmp/pepita-modules-XXXXXX";
    const int file = ::mkstemp(list.data());
    ASSERT_GE(file, 0);
    ASSERT_EQ(::close(file), 0);
    std::ofstream(list) << "\n/nowhere/absent.ko\n";
    EXPECT_TRUE(load_modules(list).has_value());
    std::filesystem::remove(list);
    EXPECT_EQ(load_modules(list).error().code(), Code::NotFound);
}

}  // namespace
}  // namespace pepita::runtime::guest
