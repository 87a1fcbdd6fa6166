#include "vmm/bus/pci_host.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/pci.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_config.h"
#include "vmm/bus/pci_function.h"

namespace pepita::vmm {
namespace {

namespace pci = abi::pci;

constexpr std::uint64_t kEcam = 0xe000'0000;
constexpr std::uint64_t kBarSize = 0x4000;
constexpr PciHost::Windows kWindows{.memory32 = {.start = 0xc000'0000, .size = 0x1000'0000},
                                    .memory64 = {.start = 0x20'0000'0000, .size = 0x1000'0000}};

constexpr std::uint64_t kFirstBar = kWindows.memory64.start + 8 * PciHost::kBarMax.value();

// Answers reads of its BAR with its own mark; remembers the last write.
class FakeFunction final : public PciFunction {
public:
    explicit FakeFunction(std::uint8_t mark, Bytes bar = Bytes(kBarSize)) : mark_(mark) {
        if (bar.value() != 0) {
            config_.add_bar(bar);
        }
    }
    void read_config(std::uint64_t offset, std::span<std::byte> into) override {
        config_.read(offset, into);
    }
    void write_config(std::uint64_t offset, std::span<const std::byte> from) override {
        config_.write(offset, from);
    }
    PciBar bar() override { return config_.bar(); }
    void set_bar_address(std::uint64_t address) override { config_.set_bar_address(address); }
    void read_bar(std::uint64_t /*offset*/, std::span<std::byte> into) override {
        store(into, mark_);
    }
    Written write_bar(std::uint64_t /*offset*/, std::span<const std::byte> /*from*/) override {
        return Written::NeedsLoop;
    }
    void write_bar_on_loop(std::uint64_t offset, std::span<const std::byte> /*from*/) override {
        written_at = offset;
    }
    void bar_mapped(virtio::GuestAddress start) override { mapped_at = std::to_underlying(start); }
    void bar_unmapped() override { mapped_at.reset(); }

    std::optional<std::uint64_t> mapped_at;
    std::optional<std::uint64_t> written_at;

private:
    static constexpr PciConfig::Identity kIdentity{
        .vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000};
    PciConfig config_{kIdentity};
    std::uint64_t mark_;
};

class PciHostTest : public testing::Test {
protected:
    PciHostTest() { EXPECT_TRUE(mmio_.add(kEcam, 0x10'0000, host_.ecam()).has_value()); }

    FakeFunction* add(std::uint8_t mark, Bytes bar = Bytes(kBarSize)) {
        auto function = std::make_unique<FakeFunction>(mark, bar);
        FakeFunction* borrowed = function.get();
        last_ = host_.add(std::move(function)).value();
        return borrowed;
    }
    void add_many(int count) {
        for (int i = 0; i < count; ++i) {
            add(1);
        }
    }
    std::uint64_t read(std::uint64_t at, std::size_t size) const {
        std::array<std::byte, 8> bytes{};
        mmio_.read(at, std::span(bytes).first(size));
        return load(std::span(bytes).first(size));
    }
    void write(std::uint64_t at, std::uint64_t value, std::size_t size) const {
        std::array<std::byte, 8> bytes{};
        store(bytes, value);
        mmio_.write_on_loop(at, std::span(bytes).first(size));
    }
    std::uint64_t config(std::uint64_t slot, std::uint64_t offset, std::size_t size) const {
        return read(kEcam + (slot << 15U) + offset, size);
    }
    void set_config(std::uint64_t slot, std::uint64_t offset, std::uint64_t value,
                    std::size_t size) const {
        write(kEcam + (slot << 15U) + offset, value, size);
    }
    void move_bar(std::uint64_t slot, std::uint64_t to) const {
        set_config(slot, pci::kBar0, to & 0xffff'ffff, 4);
        set_config(slot, pci::kBar1, to >> 32U, 4);
    }
    void enable(std::uint64_t slot) const {
        set_config(slot, pci::kCommand, pci::kCommandMemory, 2);
    }

    AddressMap mmio_;
    PciHost host_{mmio_, kWindows};
    PciAddress last_{};
};

TEST_F(PciHostTest, HostBridgeIsDeviceZeroAndTheRestIsEmpty) {
    EXPECT_EQ(config(0, pci::kVendorId, 4), 0x0008'1b36U);
    EXPECT_EQ(config(0, pci::kClassCode - 1, 4), 0x0600'0000U);
    EXPECT_EQ(config(1, pci::kVendorId, 4), 0xffff'ffffU);
    set_config(1, pci::kCommand, 7, 2);
}

TEST_F(PciHostTest, OtherFunctionsOfADeviceAreEmpty) {
    add(1);
    EXPECT_EQ(config(1, pci::kVendorId, 2), 0x1234U);
    EXPECT_EQ(config(1, (1U << 12U) + pci::kVendorId, 2), 0xffffU);
}

TEST_F(PciHostTest, FunctionsOfTheirOwnDeviceComeBeforeOthers) {
    add_many(31);
    EXPECT_EQ(to_string(last_), "0000:00:1f.0");
    EXPECT_EQ(config(31, pci::kVendorId, 2), 0x1234U);
    add(1);
    EXPECT_EQ(to_string(last_), "0000:00:00.1");
    EXPECT_EQ(config(0, (1U << 12U) + pci::kVendorId, 2), 0x1234U);
}

TEST_F(PciHostTest, ABusHas255FunctionsBesideItsBridgeAndNoMore) {
    add_many(255);
    EXPECT_EQ(to_string(last_), "0000:00:1f.7");
    EXPECT_EQ(host_.add(std::make_unique<FakeFunction>(1)).error().code(), Code::ResourceExhausted);
}

TEST_F(PciHostTest, EveryFunctionZeroSaysThatOthersMayCome) {
    add(1);
    EXPECT_EQ(config(0, pci::kHeaderType, 1), pci::kHeaderMultifunction);
    EXPECT_EQ(config(1, pci::kHeaderType, 1), pci::kHeaderMultifunction);
}

TEST_F(PciHostTest, ARemovedFunctionAnswersNowhereAndItsPlaceIsUsedAgain) {
    add(1);
    enable(1);
    ASSERT_TRUE(host_.remove(last_).has_value());
    EXPECT_EQ(config(1, pci::kVendorId, 2), 0xffffU);
    EXPECT_EQ(read(kFirstBar, 1), 0xffU);
    add(2);
    EXPECT_EQ(to_string(last_), "0000:00:01.0");
    enable(1);
    EXPECT_EQ(read(kFirstBar, 1), 2U);
}

TEST_F(PciHostTest, ARemovedFunctionFreesTheAddressesThatAnotherWaitsFor) {
    add(1);
    enable(1);
    const PciAddress first = last_;
    const FakeFunction* second = add(2);
    move_bar(2, kFirstBar);
    enable(2);
    EXPECT_EQ(second->mapped_at, std::nullopt);
    ASSERT_TRUE(host_.remove(first).has_value());
    EXPECT_EQ(second->mapped_at, kFirstBar);
}

TEST_F(PciHostTest, FunctionZeroStaysWhileOthersAreBesideIt) {
    add(1);
    const PciAddress zero = last_;
    add_many(30 + 7 + 1);
    EXPECT_EQ(to_string(last_), "0000:00:01.1");
    EXPECT_EQ(host_.remove(zero).error().code(), Code::FailedPrecondition);
    ASSERT_TRUE(host_.remove(last_).has_value());
    EXPECT_TRUE(host_.remove(zero).has_value());
}

TEST_F(PciHostTest, BarsArePresetApartAndAligned) {
    add(1, Bytes(0x1000));
    add(2, Bytes(0x4000));
    EXPECT_EQ(config(1, pci::kBar0, 4), 0x80'0000U | pci::kBarMemory64);
    EXPECT_EQ(config(1, pci::kBar1, 4), 0x20U);
    EXPECT_EQ(config(2, pci::kBar0, 4), 0x100'0000U | pci::kBarMemory64);
}

TEST_F(PciHostTest, AllOnesInABarGiveItsSize) {
    add(1);
    move_bar(1, ~std::uint64_t{0});
    EXPECT_EQ(config(1, pci::kBar0, 4), 0xffff'c004U);
    EXPECT_EQ(config(1, pci::kBar1, 4), 0xffff'ffffU);
    set_config(1, 0x18, 0xffff'ffff, 4);
    EXPECT_EQ(config(1, 0x18, 4), 0U);
}

TEST_F(PciHostTest, BarAnswersOnlyWithMemorySpaceEnabled) {
    FakeFunction* function = add(7);
    EXPECT_EQ(read(kFirstBar, 1), 0xffU);
    enable(1);
    EXPECT_EQ(read(kFirstBar, 1), 7U);
    EXPECT_EQ(function->mapped_at, kFirstBar);
    set_config(1, pci::kCommand, 0, 2);
    EXPECT_EQ(read(kFirstBar, 1), 0xffU);
    EXPECT_EQ(function->mapped_at, std::nullopt);
}

TEST_F(PciHostTest, BarMovesWhenBothHalvesAreWritten) {
    FakeFunction* function = add(7);
    enable(1);
    move_bar(1, 0xc000'8000);
    EXPECT_EQ(function->mapped_at, 0xc000'8000U);
    EXPECT_EQ(read(0xc000'8000, 1), 7U);
    EXPECT_EQ(read(kFirstBar, 1), 0xffU);
}

TEST_F(PciHostTest, BarOutsideTheWindowsAnswersNowhere) {
    FakeFunction* function = add(7);
    enable(1);
    // Below a window, across its end, over the ECAM, at the top of the address space.
    for (const std::uint64_t at :
         {std::uint64_t{0x10'0000}, kWindows.memory64.start + 0x1000'0000, std::uint64_t{kEcam},
          ~std::uint64_t{0}, kWindows.memory32.start - kBarSize}) {
        move_bar(1, at);
        EXPECT_EQ(function->mapped_at, std::nullopt) << at;
    }
    EXPECT_EQ(config(0, pci::kVendorId, 2), 0x1b36U);
}

TEST_F(PciHostTest, OverlappedBarAnswersAsSoonAsItsPlaceIsFree) {
    FakeFunction* first = add(1);
    FakeFunction* second = add(2);
    enable(1);
    move_bar(2, kFirstBar);
    enable(2);
    EXPECT_EQ(second->mapped_at, std::nullopt);
    EXPECT_EQ(read(kFirstBar, 1), 1U);
    move_bar(1, 0xc000'0000);
    EXPECT_EQ(first->mapped_at, 0xc000'0000U);
    EXPECT_EQ(second->mapped_at, kFirstBar);
}

TEST_F(PciHostTest, AccessAcrossTheEndOfABarReachesNobody) {
    FakeFunction* function = add(1);
    enable(1);
    write(kFirstBar + kBarSize - 2, 1, 4);
    EXPECT_EQ(function->written_at, std::nullopt);
    EXPECT_EQ(read(kFirstBar + kBarSize - 2, 4), 0xffff'ffffU);
    write(kFirstBar + kBarSize - 2, 1, 2);
    EXPECT_EQ(function->written_at, kBarSize - 2);
}

TEST_F(PciHostTest, ConfigurationTakesNaturalAccessesOnly) {
    add(1);
    EXPECT_EQ(config(1, 1, 2), 0xffffU);
    EXPECT_EQ(config(1, 0, 8), ~std::uint64_t{0});
    EXPECT_EQ(config(1, 0xfe, 4), 0xffff'ffffU);
    EXPECT_EQ(config(1, 0x100, 4), 0xffff'ffffU);
    EXPECT_EQ(config(1, pci::kDeviceId, 2), 0x5678U);
    EXPECT_EQ(config(1, pci::kDeviceId + 1, 1), 0x56U);
    set_config(1, pci::kCommand - 1, 0xffff'ffff, 4);
    set_config(1, pci::kCommand, ~std::uint64_t{0}, 8);
    EXPECT_EQ(config(1, pci::kCommand, 2), 0U);
}

TEST_F(PciHostTest, IdentityIsReadOnly) {
    add(1);
    set_config(1, 0, 0, 4);
    set_config(1, 8, 0, 4);
    set_config(1, pci::kStatus, 0xffff, 2);
    EXPECT_EQ(config(1, 0, 4), 0x5678'1234U);
    EXPECT_EQ(config(1, 8, 4), 0xff00'0000U);
    EXPECT_EQ(config(1, pci::kStatus, 2), 0U);
}

TEST_F(PciHostTest, FunctionWithoutABarHasNoMemorySpace) {
    add(1, Bytes(0));
    set_config(1, pci::kCommand, 0xffff, 2);
    EXPECT_EQ(config(1, pci::kCommand, 2) & pci::kCommandMemory, 0U);
    move_bar(1, ~std::uint64_t{0});
    EXPECT_EQ(config(1, pci::kBar0, 4), 0U);
}

TEST(PciHost, LeavesNothingInTheMap) {
    AddressMap mmio;
    {
        PciHost host(mmio, kWindows);
        ASSERT_TRUE(host.add(std::make_unique<FakeFunction>(1)).has_value());
        std::array<std::byte, 2> command{std::byte{pci::kCommandMemory}, std::byte{0}};
        host.ecam().write_on_loop((1U << 15U) + pci::kCommand, command);
        mmio.read(kFirstBar, command);
        EXPECT_EQ(command[0], std::byte{1});
    }
    std::array<std::byte, 1> byte{};
    mmio.read(kFirstBar, byte);
    EXPECT_EQ(byte[0], std::byte{0xff});
}

}  // namespace
}  // namespace pepita::vmm
