#include "vmm/bus/msix.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/uapi/pci.h"
#include "vmm/bus/access.h"
#include "vmm/bus/msi_sink.h"

namespace pepita::vmm {
namespace {

namespace pci = abi::pci;
using Message = std::pair<std::uint64_t, std::uint32_t>;

class Messages final : public MsiSink {
public:
    void send(std::uint64_t address, std::uint32_t data) override {
        sent.emplace_back(address, data);
    }
    std::vector<Message> sent;
};

// Three vectors: the table is 48 bytes, the pending bits 8.
class MsixTest : public testing::Test {
protected:
    void write(std::uint64_t offset, std::uint64_t value, std::size_t size = 4) {
        std::array<std::byte, 8> bytes{};
        store(bytes, value);
        msix_.write_table(offset, std::span(bytes).first(size));
    }
    std::uint64_t read(std::uint64_t offset, std::size_t size = 4) const {
        std::array<std::byte, 8> bytes{};
        bytes.fill(std::byte{0xff});
        msix_.read_table(offset, std::span(bytes).first(size));
        return load(std::span(bytes).first(size));
    }
    std::uint64_t pending() const {
        std::array<std::byte, 8> bytes{};
        msix_.read_pending(0, bytes);
        return load(bytes);
    }
    // Gives the vector an address and data, and takes its mask away.
    void arm(std::uint64_t vector) {
        write(vector * 16, 0xfee0'1000);
        write(vector * 16 + 4, 0x1);
        write(vector * 16 + 8, 0x40 + static_cast<std::uint32_t>(vector));
        write(vector * 16 + 12, 0);
    }

    Messages messages_;
    Msix msix_{3, messages_};
};

TEST_F(MsixTest, SendsTheMessageOfAnArmedVector) {
    msix_.set_control(pci::kMsixEnable);
    arm(2);
    msix_.notify(2);
    EXPECT_EQ(messages_.sent, std::vector<Message>({{0x1'fee0'1000, 0x42}}));
}

TEST_F(MsixTest, SendsNothingWhileNotEnabled) {
    arm(0);
    msix_.notify(0);
    msix_.set_control(pci::kMsixEnable);
    EXPECT_TRUE(messages_.sent.empty());
}

TEST_F(MsixTest, VectorMaskHoldsAMessageBackUntilItIsTakenAway) {
    msix_.set_control(pci::kMsixEnable);
    arm(1);
    write(16 + 12, pci::kMsixEntryMasked);
    msix_.notify(1);
    msix_.notify(1);
    EXPECT_TRUE(messages_.sent.empty());
    EXPECT_EQ(pending(), 0b010U);
    write(16 + 12, 0);
    EXPECT_EQ(messages_.sent, std::vector<Message>({{0x1'fee0'1000, 0x41}}));
    EXPECT_EQ(pending(), 0U);
}

TEST_F(MsixTest, FunctionMaskHoldsAllMessagesBack) {
    arm(0);
    arm(2);
    msix_.set_control(pci::kMsixEnable | pci::kMsixMaskAll);
    msix_.notify(0);
    msix_.notify(2);
    EXPECT_TRUE(messages_.sent.empty());
    EXPECT_EQ(pending(), 0b101U);
    msix_.set_control(pci::kMsixEnable);
    EXPECT_EQ(messages_.sent.size(), 2U);
}

TEST_F(MsixTest, DisablingForgetsWhatWasPending) {
    arm(0);
    msix_.set_control(pci::kMsixEnable | pci::kMsixMaskAll);
    msix_.notify(0);
    msix_.set_control(0);
    msix_.set_control(pci::kMsixEnable);
    EXPECT_TRUE(messages_.sent.empty());
}

TEST_F(MsixTest, VectorsStartMasked) { EXPECT_EQ(read(16 + 12), pci::kMsixEntryMasked); }

TEST_F(MsixTest, EntryIsWrittenInHalvesOfEightBytesToo) {
    msix_.set_control(pci::kMsixEnable);
    write(0, 0x2'fee0'0000, 8);
    write(8, 0x77, 8);
    msix_.notify(0);
    EXPECT_EQ(messages_.sent, std::vector<Message>({{0x2'fee0'0000, 0x77}}));
    EXPECT_EQ(read(0, 8), 0x2'fee0'0000U);
}

// The class of Cloud Hypervisor's MSI-X table overrun (fixed in its v41).
TEST_F(MsixTest, NothingIsReachedBeyondTheLastVector) {
    write(48, 0x1234);
    write(44, 0x1234, 8);
    EXPECT_EQ(read(48), 0xffff'ffffU);
    EXPECT_EQ(read(~std::uint64_t{7}, 8), ~std::uint64_t{0});
    msix_.set_control(pci::kMsixEnable);
    msix_.notify(3);
    msix_.notify(0xffff);
    EXPECT_TRUE(messages_.sent.empty());
}

TEST_F(MsixTest, OddSizesAndPlacesReachNothing) {
    write(2, 0x1234'5678);
    write(0, 0x12, 1);
    write(0, 0x1234, 2);
    EXPECT_EQ(read(0), 0U);
    EXPECT_EQ(read(2), 0xffff'ffffU);
    EXPECT_EQ(read(0, 1), 0xffU);
}

TEST_F(MsixTest, PendingBitsEndWithTheirLastWord) {
    std::array<std::byte, 4> bytes{};
    bytes.fill(std::byte{0xff});
    msix_.read_pending(8, bytes);
    EXPECT_EQ(load(bytes), 0xffff'ffffU);
    msix_.read_pending(6, bytes);
    EXPECT_EQ(load(bytes), 0xffff'ffffU);
}

}  // namespace
}  // namespace pepita::vmm
