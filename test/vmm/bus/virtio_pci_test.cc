#include "vmm/bus/virtio_pci.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/uapi/pci.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_pci.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "test/support/driver.h"
#include "test/support/pci_driver.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_host.h"

namespace pepita::vmm {
namespace {

namespace pci = abi::pci;
using Common = abi::VirtioPciCommonConfig;
using test::Direction;

constexpr std::uint64_t kEcam = 0xe000'0000;
constexpr std::uint64_t kOwnFeature = 1U << 5U;
constexpr std::uint16_t kQueueSize = 8;

// Answers each buffer with what is in it, at once, or when the test says so.
class EchoDevice final : public virtio::Device {
public:
    virtio::DeviceType type() const override { return virtio::DeviceType::Vsock; }
    std::uint64_t features() const override { return kOwnFeature; }
    std::span<const std::uint16_t> queue_sizes() const override { return sizes_; }
    std::span<const std::byte> config() const override {
        return std::span(registers).first(config_size);
    }
    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) override {
        std::ranges::copy(bytes, registers.begin() + offset);
    }
    void start(const virtio::Session& session) override {
        notifier = &session.notifier;
        features_seen = session.features;
    }
    Result<std::size_t> start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) override {
        rings.emplace(queue, TRY(setup.open()));
        kick(queue);
        return std::size_t{0};
    }
    std::uint16_t stop_queue(std::uint16_t queue) override {
        rings.erase(queue);
        return 0;
    }
    void kick(std::uint16_t queue) override {
        ++kicks;
        const auto found = rings.find(queue);
        if (found == rings.end()) {
            return;
        }
        while (std::optional<virtio::Chain> chain = found->second.pop()) {
            held.emplace_back(queue, *std::move(chain));
        }
        if (found->second.is_broken()) {
            notifier->queue_broken(queue);
        }
        if (!holds) {
            answer();
        }
    }
    void reset() override {
        ++resets;
        held.clear();
        rings.clear();
    }

    void answer() {
        for (auto& [queue, chain] : std::exchange(held, {})) {
            std::array<std::byte, 64> bytes{};
            const std::size_t got = chain.read(bytes);
            const std::size_t put = chain.write(std::span(bytes).first(got));
            rings.at(queue).complete(std::move(chain), static_cast<std::uint32_t>(put));
            notifier->queue_used(queue);
        }
    }

    bool holds = false;
    std::size_t config_size = 8;
    std::array<std::byte, 8> registers{};
    virtio::Notifier* notifier = nullptr;
    std::uint64_t features_seen = 0;
    std::map<std::uint16_t, virtio::Ring> rings;
    std::vector<std::pair<std::uint16_t, virtio::Chain>> held;
    int kicks = 0;
    int resets = 0;

private:
    std::array<std::uint16_t, 2> sizes_{kQueueSize, 4};
};

class PciTransportTest : public testing::Test {
protected:
    PciTransportTest() {
        EXPECT_TRUE(mmio_.add(kEcam, 0x10'0000, host_->ecam()).has_value());
        auto transport = PciTransport::create(
            device_,
            {.loop = *loop_, .memory = ram_.memory(), .messages = messages_, .kicks = kicks_});
        EXPECT_TRUE(transport.has_value());
        EXPECT_TRUE(host_->add(*std::move(transport)).has_value());
        driver_ = std::make_unique<test::PciDriver>(mmio_, kicks_, kEcam, std::uint8_t{1});
        renew_queue();
    }

    void renew_queue() {
        queue_ = std::make_unique<test::QueueDriver>(
            ram_, test::QueueDriver::Options{.size = kQueueSize});
    }
    // Up to DRIVER_OK, with queue 0 in use: its interrupt is 0x101, the configuration's 0x100.
    void run() {
        ASSERT_TRUE(driver_->negotiate(driver_->offered()));
        driver_->enable_msix(3);
        driver_->set_common(offsetof(Common, config_msix_vector), 0, 2);
        driver_->enable_queue(0, queue_->geometry(), 1);
        driver_->set_driver_ok();
        ASSERT_EQ(driver_->status() & abi::kVirtioStatusNeedsReset, 0);
    }
    // Whether a buffer goes through queue 0 and comes back as it went.
    bool echoes() {
        const auto out = ram_.place("ping");
        const auto in = ram_.allocate(4);
        queue_->add({{.at = out, .length = 4, .direction = Direction::ToDevice},
                     {.at = in, .length = 4, .direction = Direction::FromDevice}});
        driver_->notify(0);
        turn();
        return queue_->collect().has_value() && ram_.text_at(in, 4) == "ping";
    }
    void turn() { ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(0)).has_value()); }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    test::GuestRam ram_;
    test::Messages messages_;
    test::Kicks kicks_;
    AddressMap mmio_;
    EchoDevice device_;
    std::unique_ptr<PciHost> host_ = std::make_unique<PciHost>(
        mmio_, PciHost::Windows{.memory32 = {.start = 0xc000'0000, .size = 0x1000'0000},
                                .memory64 = {.start = 0x20'0000'0000, .size = 0x1000'0000}});
    std::unique_ptr<test::PciDriver> driver_;
    std::unique_ptr<test::QueueDriver> queue_;
};

TEST_F(PciTransportTest, SaysWhatItIs) {
    EXPECT_EQ(driver_->config(pci::kVendorId, 4), 0x1053'1af4U);  // 0x1040 + 19
    EXPECT_EQ(driver_->config(pci::kRevision, 4), 0x0280'0001U);
    EXPECT_EQ(driver_->config(pci::kSubsystemVendorId, 2), 0x1af4U);
    EXPECT_EQ(driver_->config(pci::kInterruptLine + 1U, 1), 0U);  // no INTx
}

TEST_F(PciTransportTest, HasAllStructuresInItsBar) {
    EXPECT_GE(driver_->structure(abi::kVirtioPciCapabilityCommon)->length, sizeof(Common));
    EXPECT_EQ(driver_->structure(abi::kVirtioPciCapabilityIsr)->length, 1U);
    EXPECT_EQ(driver_->structure(abi::kVirtioPciCapabilityDevice)->length, 8U);
    EXPECT_EQ(driver_->structure(abi::kVirtioPciCapabilityNotify)->length, 2U * 4U);
    EXPECT_TRUE(driver_->structure(abi::kVirtioPciCapabilityWindow) != nullptr);
    EXPECT_EQ(driver_->config(driver_->msix_capability() + 2U, 2), 2U);  // three vectors
}

TEST_F(PciTransportTest, DeviceWithoutConfigurationHasNoStructureForIt) {
    EchoDevice bare;
    bare.config_size = 0;
    auto transport = PciTransport::create(
        bare, {.loop = *loop_, .memory = ram_.memory(), .messages = messages_, .kicks = kicks_});
    ASSERT_TRUE(host_->add(*std::move(transport)).has_value());
    const test::PciDriver driver(mmio_, kicks_, kEcam, 2);
    EXPECT_EQ(driver.structure(abi::kVirtioPciCapabilityDevice), nullptr);
    host_.reset();
}

TEST_F(PciTransportTest, OffersTheDevicesFeaturesTheRingsAndVersion1) {
    EXPECT_EQ(driver_->offered(), kOwnFeature | abi::kVirtioFEventIdx | abi::kVirtioFIndirectDesc |
                                      abi::kVirtioFVersion1);
}

TEST_F(PciTransportTest, BufferGoesThereAndBackByEventfdAndMessage) {
    run();
    EXPECT_EQ(device_.features_seen, driver_->offered());
    EXPECT_EQ(kicks_.fds.size(), 2U);
    EXPECT_TRUE(echoes());
    EXPECT_EQ(messages_.take(0x101), 1U);
    EXPECT_TRUE(messages_.sent.empty());
    EXPECT_EQ(driver_->isr(), 0);  // with MSI-X the queue's bit is not for ISR
}

TEST_F(PciTransportTest, KickThatComesAsAnExitIsServedToo) {
    driver_->set_config(pci::kCommand, 0, 2);
    kicks_.refuses = true;
    driver_->set_config(pci::kCommand, pci::kCommandMemory, 2);
    EXPECT_TRUE(kicks_.fds.empty());
    run();
    EXPECT_TRUE(echoes());
}

TEST_F(PciTransportTest, BufferAddedBeforeDriverOkIsServedAtIt) {
    const auto out = ram_.place("ping");
    queue_->add({{.at = out, .length = 4, .direction = Direction::ToDevice}});
    driver_->notify(0);
    turn();
    EXPECT_EQ(device_.kicks, 0);
    run();
    EXPECT_TRUE(queue_->collect().has_value());
}

TEST_F(PciTransportTest, KicksFollowTheBar) {
    driver_->set_config(pci::kBar0, 0xc010'0000, 4);
    driver_->set_config(pci::kBar1, 0, 4);
    EXPECT_EQ(kicks_.fds.begin()->first, virtio::GuestAddress{0xc010'3000});
    EXPECT_EQ(kicks_.fds.size(), 2U);
    run();
    EXPECT_TRUE(echoes());
    driver_->set_config(pci::kCommand, 0, 2);
    EXPECT_TRUE(kicks_.fds.empty());
}

// The class of CVE-2026-5747: geometry that changes under a running queue.
TEST_F(PciTransportTest, QueueRegistersStayAfterEnableAndAfterDriverOk) {
    run();
    const std::uint64_t descriptors = driver_->common(offsetof(Common, queue_desc_low), 8);
    driver_->enable_queue(0, {.size = 4}, 2);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_size), 2), kQueueSize);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_desc_low), 8), descriptors);
    driver_->set_common(offsetof(Common, queue_enable), 0, 2);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_enable), 2), 1U);
    EXPECT_TRUE(echoes());
    EXPECT_EQ(messages_.take(0x102), 1U);  // the vector alone may change
}

TEST_F(PciTransportTest, QueueRegistersStayBetweenEnableAndDriverOk) {
    ASSERT_TRUE(driver_->negotiate(abi::kVirtioFVersion1));
    driver_->enable_queue(0, queue_->geometry(), 1);
    driver_->set_common(offsetof(Common, queue_size), 4, 2);
    driver_->set_common(offsetof(Common, queue_device_low), 0, 4);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_size), 2), kQueueSize);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_device_low), 8),
              std::to_underlying(queue_->geometry().used));
}

TEST_F(PciTransportTest, QueueIsNotEnabledAfterDriverOk) {
    run();
    driver_->enable_queue(1, queue_->geometry(), 1);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_enable), 2), 0U);
    EXPECT_EQ(device_.rings.size(), 1U);
}

TEST_F(PciTransportTest, QueueIsNotSetUpBeforeFeaturesOk) {
    driver_->enable_queue(0, queue_->geometry(), 1);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_enable), 2), 0U);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_desc_low), 8), 0U);
}

TEST_F(PciTransportTest, QueueSizeIsAPowerOfTwoUpToTheDevices) {
    ASSERT_TRUE(driver_->negotiate(abi::kVirtioFVersion1));
    const auto after = [this](std::uint16_t size) {
        driver_->set_common(offsetof(Common, queue_size), size, 2);
        return driver_->common(offsetof(Common, queue_size), 2);
    };
    EXPECT_EQ(after(16), 8U);
    EXPECT_EQ(after(0), 8U);
    EXPECT_EQ(after(3), 8U);
    EXPECT_EQ(after(2), 2U);
    EXPECT_EQ(after(8), 8U);
}

TEST_F(PciTransportTest, QueueThatDoesNotExistReadsAsNothing) {
    ASSERT_TRUE(driver_->negotiate(abi::kVirtioFVersion1));
    driver_->enable_queue(2, queue_->geometry(), 0);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_size), 2), 0U);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_enable), 2), 0U);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_msix_vector), 2), abi::kVirtioNoVector);
    driver_->enable_queue(0xffff, queue_->geometry(), 0);
    EXPECT_EQ(driver_->common(offsetof(Common, num_queues), 2), 2U);
}

TEST_F(PciTransportTest, FeaturesAreFixedAfterFeaturesOk) {
    run();
    driver_->accept(0);
    driver_->set_common(offsetof(Common, driver_feature_select), 0, 4);
    EXPECT_EQ(driver_->common(offsetof(Common, driver_feature), 4),
              device_.features_seen & 0xffff'ffff);
}

TEST_F(PciTransportTest, VectorThatDoesNotExistIsNoVector) {
    ASSERT_TRUE(driver_->negotiate(abi::kVirtioFVersion1));
    driver_->enable_queue(0, queue_->geometry(), 3);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_msix_vector), 2), abi::kVirtioNoVector);
    driver_->set_common(offsetof(Common, config_msix_vector), 3, 2);
    EXPECT_EQ(driver_->common(offsetof(Common, config_msix_vector), 2), abi::kVirtioNoVector);
    driver_->set_common(offsetof(Common, config_msix_vector), 2, 2);
    EXPECT_EQ(driver_->common(offsetof(Common, config_msix_vector), 2), 2U);
}

TEST_F(PciTransportTest, RegistersTakeTheirOwnWidthOnly) {
    driver_->set_common(offsetof(Common, queue_select), 1, 1);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_select), 2), 0U);
    driver_->set_common(offsetof(Common, device_status), 1, 4);
    EXPECT_EQ(driver_->status(), 0);
    driver_->set_common(sizeof(Common), 1, 4);
    EXPECT_EQ(driver_->common(sizeof(Common), 4), 0xffff'ffffU);
    EXPECT_EQ(driver_->common(sizeof(Common) - 2, 4), 0xffff'ffffU);
}

TEST_F(PciTransportTest, ResetInFlightLetsGoBeforeTheStatusReadsZero) {
    run();
    device_.holds = true;
    EXPECT_FALSE(echoes());
    EXPECT_EQ(device_.held.size(), 1U);
    driver_->set_status(0);
    EXPECT_EQ(device_.resets, 1);
    EXPECT_TRUE(device_.held.empty());
    EXPECT_EQ(driver_->status(), 0);
    EXPECT_EQ(driver_->common(offsetof(Common, queue_enable), 2), 0U);
    device_.notifier->queue_used(0);  // one that was on its way
    EXPECT_TRUE(messages_.sent.empty());
    driver_->notify(0);
    turn();
    EXPECT_TRUE(device_.rings.empty());
}

TEST_F(PciTransportTest, DeviceRunsAgainAfterReset) {
    run();
    EXPECT_TRUE(echoes());
    driver_->set_status(0);
    driver_->set_status(0);  // of what is reset already
    EXPECT_EQ(device_.resets, 1);
    renew_queue();
    run();
    EXPECT_TRUE(echoes());
}

TEST_F(PciTransportTest, RingOutsideRamStartsNothing) {
    ASSERT_TRUE(driver_->negotiate(abi::kVirtioFVersion1));
    driver_->enable_msix(3);
    driver_->set_common(offsetof(Common, config_msix_vector), 0, 2);
    driver_->enable_queue(0,
                          {.size = 8,
                           .descriptors = virtio::GuestAddress{~std::uint64_t{15}},
                           .available = virtio::GuestAddress{0x1000},
                           .used = virtio::GuestAddress{0x2000}},
                          1);
    driver_->set_driver_ok();
    EXPECT_NE(driver_->status() & abi::kVirtioStatusNeedsReset, 0);
    EXPECT_EQ(messages_.take(0x100), 1U);
    EXPECT_TRUE(device_.rings.empty());
    EXPECT_EQ(device_.resets, 1);  // its session is over
    driver_->notify(0);
    turn();
    EXPECT_EQ(device_.kicks, 0);
    driver_->set_status(0);
    EXPECT_EQ(driver_->status(), 0);
    EXPECT_EQ(device_.resets, 1);
}

TEST_F(PciTransportTest, BrokenRingAsksForAReset) {
    run();
    queue_->set_available_idx(kQueueSize + 1);  // more than the ring holds
    driver_->notify(0);
    turn();
    EXPECT_NE(driver_->status() & abi::kVirtioStatusNeedsReset, 0);
    EXPECT_EQ(messages_.take(0x100), 1U);
    EXPECT_EQ(driver_->isr(), abi::kVirtioIsrConfig);
    driver_->set_status(0);
    EXPECT_EQ(device_.resets, 1);
}

TEST_F(PciTransportTest, WithoutMsixTheIsrTellsOnceAndNoMessageIsSent) {
    ASSERT_TRUE(driver_->negotiate(abi::kVirtioFVersion1));
    driver_->enable_queue(0, queue_->geometry(), 1);
    driver_->set_driver_ok();
    EXPECT_TRUE(echoes());
    EXPECT_TRUE(messages_.sent.empty());
    EXPECT_NE(driver_->config(pci::kStatus, 2) & pci::kStatusInterrupt, 0U);
    EXPECT_EQ(driver_->isr(), abi::kVirtioIsrQueue);
    EXPECT_EQ(driver_->isr(), 0);
    EXPECT_EQ(driver_->config(pci::kStatus, 2) & pci::kStatusInterrupt, 0U);
}

TEST_F(PciTransportTest, ConfigurationChangeIsTold) {
    run();
    const std::uint64_t before = driver_->common(offsetof(Common, config_generation), 1);
    device_.registers[0] = std::byte{0x55};
    device_.notifier->config_changed();
    EXPECT_NE(driver_->common(offsetof(Common, config_generation), 1), before);
    EXPECT_EQ(messages_.take(0x100), 1U);
    EXPECT_EQ(driver_->isr(), abi::kVirtioIsrConfig);
    EXPECT_EQ(driver_->device(0, 4), 0x55U);
}

TEST_F(PciTransportTest, DeviceConfigurationEndsWhereItEnds) {
    EXPECT_EQ(driver_->device(0, 8), 0U);
    EXPECT_EQ(driver_->device(8, 1), 0xffU);
    EXPECT_EQ(driver_->device(5, 4), 0xffff'ffffU);
    driver_->set_device(4, 1, 4);  // before there is a driver
    EXPECT_EQ(driver_->device(4, 4), 0U);
    ASSERT_TRUE(driver_->negotiate(abi::kVirtioFVersion1));
    driver_->set_device(6, 0x1234, 4);
    EXPECT_EQ(driver_->device(0, 8), 0U);
    driver_->set_device(4, 0x1234, 4);
    EXPECT_EQ(driver_->device(4, 4), 0x1234U);
}

// What changes before there is a session, nobody can announce.
TEST_F(PciTransportTest, ConfigurationThatChangesBeforeDriverOkIsSeenAndAnnouncedAtIt) {
    device_.registers[0] = std::byte{0x11};
    ASSERT_TRUE(driver_->negotiate(driver_->offered()));
    EXPECT_EQ(driver_->device(0, 1), 0x11U);
    const std::uint64_t before = driver_->common(offsetof(Common, config_generation), 1);
    driver_->enable_msix(3);
    driver_->set_common(offsetof(Common, config_msix_vector), 0, 2);
    device_.registers[0] = std::byte{0x22};
    driver_->set_driver_ok();
    EXPECT_EQ(driver_->device(0, 1), 0x22U);
    EXPECT_NE(driver_->common(offsetof(Common, config_generation), 1), before);
    EXPECT_EQ(messages_.take(0x100), 1U);
}

TEST_F(PciTransportTest, WhatStartsOrSendsIsLeftToTheLoop) {
    const auto written = [this](std::uint64_t offset, std::size_t size) {
        const std::array<std::byte, 8> zeros{};
        return mmio_.write(driver_->bar() + offset, std::span(zeros).first(size));
    };
    const auto table =
        static_cast<std::uint64_t>(driver_->config(driver_->msix_capability() + 4U, 4));
    EXPECT_EQ(written(offsetof(Common, device_status), 1), Written::NeedsLoop);
    EXPECT_EQ(written(table, 4), Written::NeedsLoop);
    EXPECT_EQ(written(driver_->structure(abi::kVirtioPciCapabilityDevice)->offset, 4),
              Written::NeedsLoop);
    EXPECT_EQ(written(offsetof(Common, queue_select), 2), Written::Done);
    EXPECT_EQ(written(offsetof(Common, queue_enable), 2), Written::Done);
    EXPECT_EQ(written(driver_->structure(abi::kVirtioPciCapabilityNotify)->offset, 2),
              Written::Done);
    EXPECT_EQ(device_.kicks, 0);
    EXPECT_EQ(driver_->status(), 0);
}

// For ThreadSanitizer: a vCPU at all registers while the loop starts, serves, moves and resets.
TEST_F(PciTransportTest, VcpuUsesRegistersWhileTheLoopWorks) {
    constexpr std::array kPlaces{std::uint64_t{0x20'0000'0000}, std::uint64_t{0xc010'0000}};
    std::atomic<bool> is_done = false;
    auto vcpu = Thread::start("vcpu", [this, &is_done, &kPlaces] {
        std::array<std::byte, 4> bytes{};
        for (std::uint64_t offset = 0; !is_done.load(std::memory_order_relaxed);
             offset = (offset + 4) % 0x6000) {
            for (const std::uint64_t place : kPlaces) {
                mmio_.read(place + offset, bytes);
                bytes.fill(std::byte{0});
                (void)mmio_.write(place + offset, bytes);
            }
            mmio_.read(kEcam + 0x8000 + offset % 0x100, bytes);
        }
    });
    ASSERT_TRUE(vcpu.has_value());
    for (int round = 0; round < 40; ++round) {
        const std::uint64_t place = kPlaces.at(static_cast<std::size_t>(round) % 2);
        driver_->set_config(pci::kBar0, place & 0xffff'ffff, 4);
        driver_->set_config(pci::kBar1, place >> 32U, 4);
        // Whether it comes to a session is up to what the other wrote meanwhile.
        driver_->enable_msix(3);
        (void)driver_->negotiate(driver_->offered());
        renew_queue();
        driver_->enable_queue(0, queue_->geometry(), 1);
        driver_->set_driver_ok();
        if (device_.notifier != nullptr) {
            device_.notifier->config_changed();
            device_.notifier->queue_used(0);
        }
        turn();
        driver_->set_status(0);
    }
    is_done = true;
    vcpu->join();
    // And it is in order still, whatever queue the other had selected.
    renew_queue();
    run();
    EXPECT_TRUE(echoes());
}

// A driver that has configuration space alone: §4.1.4.9.
class PciWindowTest : public PciTransportTest {
protected:
    void aim(std::uint8_t bar, std::uint64_t offset, std::uint32_t length) const {
        driver_->set_config(at_ + 4U, bar, 1);
        driver_->set_config(at_ + 8U, offset, 4);
        driver_->set_config(at_ + 12U, length, 4);
    }
    std::uint64_t data() const { return driver_->config(at_ + 16U, 4); }
    void set_data(std::uint64_t value) const { driver_->set_config(at_ + 16U, value, 4); }

    const std::uint16_t at_ = driver_->structure(abi::kVirtioPciCapabilityWindow)->capability;
};

TEST_F(PciWindowTest, ReadsAndWritesTheBar) {
    driver_->set_config(pci::kCommand, 0, 2);
    aim(0, offsetof(Common, num_queues), 2);
    EXPECT_EQ(data() & 0xffff, 2U);
    aim(0, offsetof(Common, device_status), 1);
    set_data(abi::kVirtioStatusAcknowledge);
    driver_->set_config(pci::kCommand, pci::kCommandMemory, 2);
    EXPECT_EQ(driver_->status(), abi::kVirtioStatusAcknowledge);
}

TEST_F(PciWindowTest, Kicks) {
    run();
    const auto out = ram_.place("ping");
    queue_->add({{.at = out, .length = 4, .direction = Direction::ToDevice}});
    aim(0, driver_->structure(abi::kVirtioPciCapabilityNotify)->offset, 2);
    set_data(0);
    turn();
    EXPECT_TRUE(queue_->collect().has_value());
}

TEST_F(PciWindowTest, AimedAtNothingReachesNothing) {
    for (const auto& [bar, offset, length] :
         {std::tuple<std::uint8_t, std::uint64_t, std::uint32_t>{1, 0x14, 1},
          {0, 0x14, 0},
          {0, 0x14, 3},
          {0, 0x14, 8},
          {0, 0x15, 2},
          {0, 0x8000, 1},
          {0, 0xffff'fffc, 4}}) {
        aim(bar, offset, length);
        set_data(abi::kVirtioStatusAcknowledge);
        EXPECT_EQ(driver_->status(), 0) << offset << ' ' << length;
        EXPECT_EQ(data(), abi::kVirtioStatusAcknowledge);
    }
}

TEST_F(PciTransportTest, MaskedMessageWaitsForItsMask) {
    run();
    const std::uint16_t control = driver_->msix_capability() + 2U;
    driver_->set_config(control, pci::kMsixEnable | pci::kMsixMaskAll, 2);
    EXPECT_TRUE(echoes());
    EXPECT_TRUE(messages_.sent.empty());
    const std::uint64_t pending =
        driver_->bar() + (driver_->config(driver_->msix_capability() + 8U, 4) & ~7U);
    EXPECT_EQ(driver_->read(pending, 8), 0b10U);
    driver_->set_config(control, pci::kMsixEnable, 2);
    EXPECT_EQ(messages_.take(0x101), 1U);
}

TEST_F(PciTransportTest, TableEndsWithTheLastVector) {
    const std::uint64_t table =
        driver_->bar() + (driver_->config(driver_->msix_capability() + 4U, 4) & ~7U);
    driver_->write(table + 48, 1, 4);
    EXPECT_EQ(driver_->read(table + 48, 4), 0xffff'ffffU);
    EXPECT_EQ(driver_->read(table + 44, 4), pci::kMsixEntryMasked);
}

TEST_F(PciTransportTest, GoingAwayResetsTheDeviceAndLeavesNoKick) {
    run();
    host_.reset();
    EXPECT_EQ(device_.resets, 1);
    EXPECT_TRUE(kicks_.fds.empty());
}

}  // namespace
}  // namespace pepita::vmm
