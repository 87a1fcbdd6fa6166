#include "vmm/bus/pci_config.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernel-abi/uapi/pci.h"

namespace pepita::vmm {
namespace {

namespace pci = abi::pci;

TEST(PciConfig, CapabilitiesFormAListThatEnds) {
    PciConfig config({.vendor = 1, .device = 2});
    EXPECT_EQ(config.get(pci::kStatus, 2), 0U);
    const std::array<std::byte, 3> body{std::byte{0xaa}, std::byte{0xbb}, std::byte{0xcc}};
    const auto first = config.add_capability(9, body);
    const auto second = config.add_capability(17, body);
    EXPECT_EQ(config.get(pci::kStatus, 2), pci::kStatusCapabilities);
    EXPECT_EQ(config.get(pci::kCapabilities, 1), first);
    EXPECT_EQ(config.get(first, 1), 9U);
    EXPECT_EQ(config.get(static_cast<std::uint16_t>(first + 1), 1), second);
    EXPECT_EQ(second % 4, 0);
    EXPECT_EQ(config.get(second, 4), 0xbbaa'0011U);
}

TEST(PciConfig, GuestWritesTheBitsOfACapabilityThatAreItsOwn) {
    PciConfig config({.vendor = 1, .device = 2});
    const std::array<std::byte, 2> body{std::byte{0x02}, std::byte{0x00}};
    const std::array<std::byte, 2> writable{std::byte{0x00}, std::byte{0xc0}};
    const auto at = config.add_capability(17, body, writable);
    const std::array<std::byte, 4> ones{std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                                        std::byte{0xff}};
    config.write(at, ones);
    EXPECT_EQ(config.get(at, 4), 0xc002'0011U);
}

}  // namespace
}  // namespace pepita::vmm
