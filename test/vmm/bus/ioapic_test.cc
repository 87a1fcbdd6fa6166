#include "vmm/bus/ioapic.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/msi_sink.h"

namespace pepita::vmm {
namespace {

class Messages final : public MsiSink {
public:
    void send(std::uint64_t address, std::uint32_t data) override {
        sent.emplace_back(address, data);
    }
    std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
};

class IoapicTest : public testing::Test {
protected:
    std::uint32_t read(std::uint32_t index) {
        select(index);
        std::array<std::byte, 4> bytes{};
        ioapic_.read(0x10, bytes);
        return static_cast<std::uint32_t>(load(bytes));
    }
    void write(std::uint32_t index, std::uint32_t value) {
        select(index);
        std::array<std::byte, 4> bytes{};
        store(bytes, value);
        EXPECT_EQ(ioapic_.write(0x10, bytes), Written::NeedsLoop);
        ioapic_.write_on_loop(0x10, bytes);
    }
    void select(std::uint32_t index) {
        std::array<std::byte, 4> bytes{};
        store(bytes, index);
        EXPECT_EQ(ioapic_.write(0, bytes), Written::Done);
    }
    static constexpr std::uint32_t low_of(std::uint32_t pin) { return 0x10 + (2 * pin); }
    static constexpr std::uint32_t high_of(std::uint32_t pin) { return 0x11 + (2 * pin); }

    using Level = Ioapic::Level;
    Messages messages_;
    Ioapic ioapic_{messages_};
};

TEST_F(IoapicTest, SaysThatItHas24MaskedPins) {
    EXPECT_EQ(read(1), 0x0017'0011U);
    EXPECT_EQ(read(low_of(0)), 0x10000U);
    EXPECT_EQ(read(low_of(23)), 0x10000U);
}

TEST_F(IoapicTest, EdgeBecomesTheMessageOfItsRedirection) {
    write(high_of(4), 0x0300'0000);  // to APIC 3
    write(low_of(4), 0x0000'0931);   // logical, lowest priority, vector 0x31
    ioapic_.set_pin(4, Level::High);
    ASSERT_EQ(messages_.sent.size(), 1U);
    EXPECT_EQ(messages_.sent[0].first, 0xfee0'3004U);
    EXPECT_EQ(messages_.sent[0].second, 0x131U);
}

TEST_F(IoapicTest, OnlyTheRisingEdgeCounts) {
    write(low_of(4), 0x31);
    ioapic_.set_pin(4, Level::High);
    ioapic_.set_pin(4, Level::High);
    ioapic_.set_pin(4, Level::Low);
    EXPECT_EQ(messages_.sent.size(), 1U);
    ioapic_.set_pin(4, Level::High);
    EXPECT_EQ(messages_.sent.size(), 2U);
}

TEST_F(IoapicTest, EdgeWhileMaskedIsKeptOnce) {
    ioapic_.set_pin(4, Level::High);
    ioapic_.set_pin(4, Level::Low);
    ioapic_.set_pin(4, Level::High);
    EXPECT_TRUE(messages_.sent.empty());
    write(low_of(4), 0x31);
    EXPECT_EQ(messages_.sent.size(), 1U);
    write(low_of(4), 0x31);
    EXPECT_EQ(messages_.sent.size(), 1U);
}

TEST_F(IoapicTest, RedirectionKeepsItsHalvesAndItsStatusBits) {
    write(high_of(7), 0xab00'0000);
    write(low_of(7), 0xffff'ffff);
    EXPECT_EQ(read(low_of(7)), 0xffff'afffU);  // delivery status and remote IRR stay 0
    EXPECT_EQ(read(high_of(7)), 0xab00'0000U);
}

TEST_F(IoapicTest, RegistersBeyondItsPinsReachNothing) {
    write(low_of(24), 0x31);
    EXPECT_EQ(read(low_of(24)), 0U);
    EXPECT_EQ(read(0xff), 0U);
    write(5, 1);
    EXPECT_EQ(read(5), 0U);
}

}  // namespace
}  // namespace pepita::vmm
