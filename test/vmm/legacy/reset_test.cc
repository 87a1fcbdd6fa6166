#include "vmm/legacy/reset.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {
namespace {

class EndPortsTest : public testing::Test {
protected:
    EndPortsTest() { EXPECT_TRUE(ends_.attach(ports_).has_value()); }
    void write(std::uint16_t port, std::uint8_t value) {
        const std::array byte{std::byte{value}};
        const std::size_t seen = seen_.size();
        const Written written = ports_.write(port, byte);
        EXPECT_EQ(seen_.size(), seen);
        ports_.write_on_loop(port, byte);
        // What ends the guest is the loop's, and nothing else is.
        EXPECT_EQ(written == Written::NeedsLoop, seen_.size() == seen + 1);
    }
    std::uint8_t read(std::uint16_t port) {
        std::array<std::byte, 1> byte{};
        ports_.read(port, byte);
        return static_cast<std::uint8_t>(load(byte));
    }

    AddressMap ports_;
    std::vector<ExitReason> seen_;
    EndPorts ends_{[this](ExitReason reason) { seen_.push_back(reason); }};
};

TEST_F(EndPortsTest, SleepOfTypeFiveIsPowerOff) {
    write(0x600, 0x34);
    EXPECT_EQ(seen_, std::vector{ExitReason::PowerOff});
}

TEST_F(EndPortsTest, OtherSleepsAreNothing) {
    write(0x600, 0x14);  // type 5 without SLP_EN
    write(0x600, 0x24);  // type 1
    EXPECT_TRUE(seen_.empty());
}

TEST_F(EndPortsTest, EachResetLineTakesItsOwnValue) {
    write(0x602, 0x06);
    write(0x64, 0xfe);
    EXPECT_EQ(seen_, (std::vector{ExitReason::Reset, ExitReason::Reset}));
    write(0x602, 0x00);
    write(0x64, 0xd1);
    EXPECT_EQ(seen_.size(), 2U);
}

TEST_F(EndPortsTest, PanicDeviceOffersAndTakesPanics) {
    EXPECT_EQ(read(0x505), 1);
    write(0x505, 2);  // a crash kernel was loaded: not offered
    EXPECT_TRUE(seen_.empty());
    write(0x505, 1);
    EXPECT_EQ(seen_, std::vector{ExitReason::GuestPanic});
}

TEST_F(EndPortsTest, KeyboardControllerIsIdle) { EXPECT_EQ(read(0x64), 0); }

}  // namespace
}  // namespace pepita::vmm
