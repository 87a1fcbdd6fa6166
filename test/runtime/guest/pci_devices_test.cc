#include "runtime/guest/pci_devices.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"

namespace pepita::runtime::guest {
namespace {

namespace fs = std::filesystem;

// A sysfs of our own.
class PciDevicesTest : public testing::Test {
protected:
    PciDevicesTest() {
        EXPECT_NE(::mkdtemp(sys_.data()), nullptr);
        fs::create_directories(sys_ + "/block");
        fs::create_directories(sys_ + "/bus/pci/devices");
        std::ofstream(sys_ + "/bus/pci/rescan") << "";
    }
    ~PciDevicesTest() override { fs::remove_all(sys_); }

    // A function, and the disk on it where `name` says one.
    void add(const std::string& address, const std::string& name = "",
             const std::string& serial = "") {
        const std::string device = sys_ + "/devices/pci0000:00/" + address;
        fs::create_directories(device + "/virtio0");
        std::ofstream(device + "/remove") << "";
        fs::create_directory_symlink(device, sys_ + "/bus/pci/devices/" + address);
        if (!name.empty()) {
            fs::create_directory(sys_ + "/block/" + name);
            fs::create_directory_symlink(device + "/virtio0", sys_ + "/block/" + name + "/device");
            std::ofstream(sys_ + "/block/" + name + "/serial") << serial;
        }
    }
    static DiskId serial(const std::string& name) { return {.serial = name}; }
    static DiskId at(const std::string& address) { return {.pci_address = address}; }
    std::string content(const std::string& path) {
        std::ifstream file(sys_ + path);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    std::string sys_ = "/tmp/pepita-sys-XXXXXX";
};

TEST_F(PciDevicesTest, ADiskIsFoundByItsWholeSerial) {
    add("0000:00:01.0", "vda", "disk1");
    add("0000:00:02.0", "vdb", "disk10");
    add("0000:00:03.0", "vdc", "disk100\n");
    EXPECT_EQ(find_disk(serial("disk1"), sys_).value(), "/dev/vda");
    EXPECT_EQ(find_disk(serial("disk10"), sys_).value(), "/dev/vdb");
    EXPECT_EQ(find_disk(serial("disk100"), sys_).value(), "/dev/vdc");
}

TEST_F(PciDevicesTest, ADiskIsFoundByItsPciAddress) {
    add("0000:00:01.0", "vda");
    add("0000:01:1f.0", "vdb");
    EXPECT_EQ(find_disk(at("0000:01:1f.0"), sys_).value(), "/dev/vdb");
    EXPECT_EQ(find_disk(at("0000:01:1f"), sys_).error().code(), Code::NotFound);
}

TEST_F(PciDevicesTest, DevicesWithoutASerialArePassedOver) {
    fs::create_directory(sys_ + "/block/ram0");
    add("0000:00:02.0", "vdb", "disk1");
    EXPECT_EQ(find_disk(serial("disk1"), sys_).value(), "/dev/vdb");
}

TEST_F(PciDevicesTest, OneThatIsNotThereIsNamed) {
    add("0000:00:01.0", "vda", "disk1");
    const auto found = find_disk(serial("disk2"), sys_);
    ASSERT_FALSE(found.has_value());
    EXPECT_EQ(found.error().code(), Code::NotFound);
    EXPECT_EQ(found.error().message(), "no disk has the serial 'disk2'");
}

TEST_F(PciDevicesTest, ADiskHasExactlyOneNameAndNoPath) {
    add("0000:00:01.0", "vda", "");
    EXPECT_EQ(find_disk({}, sys_).error().code(), Code::InvalidArgument);
    EXPECT_EQ(find_disk({.serial = "a", .pci_address = "b"}, sys_).error().code(),
              Code::InvalidArgument);
    EXPECT_EQ(release_device(at("../../block"), sys_).error().code(), Code::InvalidArgument);
    EXPECT_EQ(release_device(at(".."), sys_).error().code(), Code::InvalidArgument);
}

TEST_F(PciDevicesTest, AMissingFolderIsNamed) {
    EXPECT_EQ(find_disk(serial("disk1"), sys_ + "/none").error().message(),
              "open '" + sys_ + "/none/block': No such file or directory (ENOENT)");
}

TEST_F(PciDevicesTest, ARescanIsOfTheWholeBus) {
    ASSERT_TRUE(rescan_bus(sys_).has_value());
    EXPECT_EQ(content("/bus/pci/rescan"), "1");
}

TEST_F(PciDevicesTest, TheFunctionOfADiskIsRemovedByEitherName) {
    add("0000:00:01.0", "pepita-none-1", "disk1");  // no such device in /dev
    add("0000:01:1f.0", "pepita-none-2", "disk2");
    ASSERT_TRUE(release_device(serial("disk1"), sys_).has_value());
    EXPECT_EQ(content("/bus/pci/devices/0000:00:01.0/remove"), "1");
    EXPECT_EQ(content("/bus/pci/devices/0000:01:1f.0/remove"), "");
    ASSERT_TRUE(release_device(at("0000:01:1f.0"), sys_).has_value());
    EXPECT_EQ(content("/bus/pci/devices/0000:01:1f.0/remove"), "1");
}

TEST_F(PciDevicesTest, AFunctionNeedNotBeADisk) {
    add("0000:00:05.0");
    ASSERT_TRUE(release_device(at("0000:00:05.0"), sys_).has_value());
    EXPECT_EQ(content("/bus/pci/devices/0000:00:05.0/remove"), "1");
    EXPECT_EQ(release_device(at("0000:00:06.0"), sys_).error().code(), Code::NotFound);
    EXPECT_EQ(release_device(serial("disk1"), sys_).error().code(), Code::NotFound);
}

}  // namespace
}  // namespace pepita::runtime::guest
