#include "kernel-abi/virtio/vhost_user/back_end.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "kernel-abi/virtio/vhost_user/message.h"
#include "test/support/driver.h"
#include "test/support/vhost_user_front.h"

namespace pepita::virtio {
namespace {

using test::Direction;
using test::drain_eventfd;
using test::GuestRam;
using test::make_eventfd;
using test::QueueDriver;
using test::signal_eventfd;
using test::VhostUserFront;
using enum abi::VhostUserRequest;

constexpr std::uint64_t kFeature = 1U << 5U;
constexpr std::uint64_t kAcked = kFeature | abi::kVirtioFVersion1 | abi::kVirtioFEventIdx |
                                 abi::kVirtioFIndirectDesc | abi::kVhostUserFProtocolFeatures;

// Writes 'x' into every buffer it gets.
class StampDevice final : public Device {
public:
    DeviceType type() const override { return DeviceType::Entropy; }
    std::uint64_t features() const override { return kFeature; }
    std::span<const std::uint16_t> queue_sizes() const override { return sizes_; }
    std::span<const std::byte> config() const override { return config_; }
    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) override {
        std::ranges::copy(bytes, std::span(config_).subspan(offset).begin());
    }
    void start(const Session& session) override {
        features_seen = session.features;
        notifier_ = &session.notifier;
        ++starts;
    }
    Result<std::size_t> start_queue(std::uint16_t queue, const QueueSetup& setup) override {
        rings_[queue] = TRY(setup.open());
        const std::size_t inherited = rings_[queue]->inherited();
        kick(queue);
        return inherited;
    }
    std::uint16_t stop_queue(std::uint16_t queue) override {
        taken_.clear();  // as a process that is killed: none comes back
        const std::optional<Ring> ring = std::exchange(rings_[queue], std::nullopt);
        return ring ? ring->next_available() : std::uint16_t{0};
    }
    void kick(std::uint16_t queue) override {
        std::optional<Ring>& ring = rings_[queue];
        if (!ring) {
            return;
        }
        while (std::optional<Chain> chain = ring->pop()) {
            if (is_stuck) {
                taken_.push_back(*std::move(chain));
                continue;
            }
            const std::array stamp{std::byte{'x'}};
            const std::size_t written = chain->write(stamp);
            ring->complete(std::move(*chain), static_cast<std::uint32_t>(written));
        }
        (void)ring->enable_kicks();
        notifier_->queue_used(queue);
        if (ring->is_broken()) {
            notifier_->queue_broken(queue);
        }
    }
    void reset() override {
        taken_.clear();
        for (auto& ring : rings_) {
            ring.reset();
        }
        ++resets;
    }

    std::uint64_t features_seen = 0;
    int starts = 0;
    int resets = 0;
    bool is_stuck = false;  // takes chains, and completes none
    void change_config() { notifier_->config_changed(); }

private:
    std::array<std::uint16_t, 2> sizes_{8, 8};
    std::array<std::byte, 4> config_{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    std::array<std::optional<Ring>, 2> rings_;
    std::vector<Chain> taken_;
    Notifier* notifier_ = nullptr;
};

struct ConfigMessage {
    abi::VhostUserConfigHeader header;
    std::array<std::byte, 8> bytes;
};

class VhostUserTest : public testing::Test {
protected:
    VhostUserTest() { connect(); }

    void connect() {
        auto [ours, theirs] = *socket_pair();
        transport_ = *VhostUserTransport::create(*loop_, std::move(ours), device_,
                                                 [this](const Error& why) {
                                                     why_gone_ = why.message();
                                                     gone_code_ = why.code();
                                                     transport_.reset();
                                                 },
                                                 {.tracks_in_flight = true});
        front_ = std::make_unique<VhostUserFront>(*loop_, std::move(theirs));
    }

    void negotiate() {
        front_->send(SetOwner, {});
        front_->send(SetProtocolFeatures,
                     abi::kVhostUserProtocolReplyAck | abi::kVhostUserProtocolConfig |
                         abi::kVhostUserProtocolBackendReq | abi::kVhostUserProtocolInflightShmfd);
        front_->send(SetFeatures, kAcked);
        front_->share(ram_);
    }
    bool is_gone() const { return transport_ == nullptr; }
    void add_buffer() {
        (void)queue_.add({{.at = buffer_, .length = 1, .direction = Direction::FromDevice}});
    }
    char stamp() const { return ram_.text_at(buffer_, 1)[0]; }
    // The back end's process is killed, and another one takes the socket.
    void restart_back_end() {
        front_.reset();
        transport_.reset();
        connect();
    }

    void expect_refusal(std::string_view why) {
        EXPECT_TRUE(is_gone());
        EXPECT_NE(why_gone_.find(why), std::string::npos) << why_gone_;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    GuestRam ram_{1_MiB};
    QueueDriver queue_{ram_};
    GuestAddress buffer_ = ram_.allocate(1);
    StampDevice device_;
    std::unique_ptr<VhostUserTransport> transport_;
    std::unique_ptr<VhostUserFront> front_;
    std::string why_gone_;
    Code gone_code_{};
};

TEST_F(VhostUserTest, OffersTheDevicesFeaturesAndTheTransports) {
    EXPECT_EQ(front_->ask_u64(GetFeatures), kAcked);
    EXPECT_EQ(front_->ask_u64(GetProtocolFeatures),
              abi::kVhostUserProtocolMq | abi::kVhostUserProtocolReplyAck |
                  abi::kVhostUserProtocolBackendReq | abi::kVhostUserProtocolConfig |
                  abi::kVhostUserProtocolInflightShmfd);
    EXPECT_EQ(front_->ask_u64(GetQueueNum), 2U);
}

TEST_F(VhostUserTest, ServesWhatWasThereAndWhatIsKicked) {
    negotiate();
    add_buffer();
    const auto fds = front_->start_queue(queue_, 0);
    EXPECT_EQ(stamp(), 'x');
    EXPECT_TRUE(queue_.collect().has_value());
    EXPECT_GT(drain_eventfd(fds.call), 0U);
    ram_.write(buffer_, '.');
    add_buffer();
    signal_eventfd(fds.kick);
    front_->run();
    EXPECT_EQ(stamp(), 'x');
    EXPECT_EQ(drain_eventfd(fds.call), 1U);
    EXPECT_EQ(device_.features_seen, kAcked & ~abi::kVhostUserFProtocolFeatures);
}

TEST_F(VhostUserTest, FrontEndThatTakesItsMemoryAwayLosesItsSessionAndNothingElse) {
    negotiate();
    add_buffer();
    const auto fds = front_->start_queue(queue_, 0);
    EXPECT_EQ(stamp(), 'x');
    ASSERT_EQ(::ftruncate(ram_.fd().number(), 0), 0);
    signal_eventfd(fds.kick);
    front_->run();
    expect_refusal("took memory away");
    EXPECT_EQ(gone_code_, Code::DataLoss);
    EXPECT_EQ(device_.resets, 1);
    front_.reset();
    connect();
    EXPECT_EQ(front_->ask_u64(GetQueueNum), 2U);
}

TEST_F(VhostUserTest, DisabledQueueIsNotServed) {
    negotiate();
    const auto fds = front_->start_queue(queue_, 0);
    front_->send(SetVringEnable, abi::VhostUserVringState{.index = 0, .num = 0});
    add_buffer();
    signal_eventfd(fds.kick);
    front_->run();
    EXPECT_EQ(stamp(), '\0');
    front_->send(SetVringEnable, abi::VhostUserVringState{.index = 0, .num = 1});
    EXPECT_EQ(stamp(), 'x');
}

TEST_F(VhostUserTest, StoppedQueueGoesOnWhereItWas) {
    negotiate();
    add_buffer();
    (void)front_->start_queue(queue_, 0);
    EXPECT_EQ(front_->stop_queue(0), 1U);
    EXPECT_EQ(front_->stop_queue(0), 1U);
    add_buffer();
    const Fd kick = make_eventfd();
    const std::array fds{kick.ref()};
    front_->send(SetVringKick, std::uint64_t{0}, fds);
    EXPECT_EQ(front_->stop_queue(0), 2U);
    EXPECT_FALSE(is_gone());
}

TEST_F(VhostUserTest, NewFeaturesMeanANewSession) {
    negotiate();
    (void)front_->start_queue(queue_, 0);
    (void)front_->stop_queue(0);
    EXPECT_EQ(device_.resets, 0);
    front_->send(SetFeatures, kAcked & ~kFeature);
    EXPECT_EQ(device_.resets, 1);
    (void)front_->start_queue(queue_, 0);
    EXPECT_EQ(device_.starts, 2);
    EXPECT_EQ(device_.features_seen & kFeature, 0U);
}

TEST_F(VhostUserTest, MemoryMayMoveUnderARunningQueue) {
    negotiate();
    const auto fds = front_->start_queue(queue_, 0);
    front_->share(ram_);
    add_buffer();
    signal_eventfd(fds.kick);
    front_->run();
    EXPECT_EQ(stamp(), 'x');
    EXPECT_EQ(device_.starts, 1);
    EXPECT_EQ(device_.resets, 0);
}

TEST_F(VhostUserTest, ANewCallDescriptorIsSignalledOnce) {
    negotiate();
    (void)front_->start_queue(queue_, 0);
    const Fd call = make_eventfd();
    const std::array fds{call.ref()};
    front_->send(SetVringCall, std::uint64_t{0}, fds);
    EXPECT_EQ(drain_eventfd(call), 1U);
}

TEST_F(VhostUserTest, ABrokenRingIsReported) {
    negotiate();
    const auto fds = front_->start_queue(queue_, 0);
    const Fd error = make_eventfd();
    const std::array error_fds{error.ref()};
    front_->send(SetVringErr, std::uint64_t{0}, error_fds);
    queue_.publish(99);
    signal_eventfd(fds.kick);
    front_->run();
    EXPECT_EQ(drain_eventfd(error), 1U);
    EXPECT_FALSE(is_gone());
}

TEST_F(VhostUserTest, AcknowledgesWhereAsked) {
    negotiate();
    front_->send(SetOwner, {}, {}, abi::kVhostUserVersion | abi::kVhostUserNeedReply);
    const VhostUserFront::Reply reply = front_->receive().value_or(VhostUserFront::Reply{});
    EXPECT_EQ(reply.header.flags, abi::kVhostUserVersion | abi::kVhostUserReply);
    EXPECT_EQ(reply.payload.size(), 8U);
    EXPECT_EQ(reply.as<std::uint64_t>(), 0U);
    front_->send(SetVringNum, abi::VhostUserVringState{.index = 2, .num = 8}, {},
                 abi::kVhostUserVersion | abi::kVhostUserNeedReply);
    EXPECT_EQ(front_->receive().value_or(VhostUserFront::Reply{}).as<std::uint64_t>(), 1U);
    expect_refusal("SET_VRING_NUM: queue 2 of 2");
}

TEST_F(VhostUserTest, ConfigurationIsReadWithZerosBehindIt) {
    front_->send(GetConfig,
                 ConfigMessage{.header = {.offset = 2, .size = 8, .flags = 0}, .bytes = {}});
    const VhostUserFront::Reply reply = front_->receive().value_or(VhostUserFront::Reply{});
    EXPECT_EQ(reply.as<ConfigMessage>().bytes,
              (std::array<std::byte, 8>{std::byte{3}, std::byte{4}}));
}

TEST_F(VhostUserTest, ConfigurationIsWrittenWithinItsBounds) {
    struct Message {
        abi::VhostUserConfigHeader header;
        std::array<std::byte, 4> bytes;
    };
    front_->send(SetConfig,
                 Message{.header = {.offset = 0, .size = 4, .flags = 0}, .bytes = {std::byte{9}}});
    EXPECT_EQ(device_.config()[0], std::byte{9});
    front_->send(SetConfig, Message{.header = {.offset = 1, .size = 4, .flags = 0}, .bytes = {}});
    expect_refusal("SET_CONFIG: bytes 1 + 4 are not in the device's configuration");
}

TEST_F(VhostUserTest, HangUpResetsTheDevice) {
    negotiate();
    (void)front_->start_queue(queue_, 0);
    front_->hang_up();
    front_->run();
    EXPECT_TRUE(is_gone());
    EXPECT_EQ(gone_code_, Code::Unavailable);
    EXPECT_EQ(device_.resets, 1);
}

TEST_F(VhostUserTest, ResetOwnerResetsTheDevice) {
    negotiate();
    (void)front_->start_queue(queue_, 0);
    front_->send(ResetOwner, {});
    EXPECT_EQ(device_.resets, 1);
    EXPECT_FALSE(is_gone());
}

TEST_F(VhostUserTest, RefusesADriverThatIsNotModern) {
    negotiate();
    front_->send(SetFeatures, kAcked & ~abi::kVirtioFVersion1);
    (void)front_->start_queue(queue_, 0);
    expect_refusal("the driver did not accept VIRTIO_F_VERSION_1");
}

TEST_F(VhostUserTest, RefusesFeaturesThatChangeTheRing) {
    front_->send(SetFeatures, kAcked | abi::kVirtioFRingPacked);
    expect_refusal("SET_FEATURES: features");
}

TEST_F(VhostUserTest, IgnoresOtherFeaturesThatItDidNotOffer) {
    negotiate();
    front_->send(SetFeatures, kAcked | abi::kVirtioFRingReset);
    (void)front_->start_queue(queue_, 0);
    EXPECT_EQ(device_.features_seen & abi::kVirtioFRingReset, 0U);
    EXPECT_EQ(device_.starts, 1);
}

TEST_F(VhostUserTest, RefusesUnknownRequests) {
    // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): that is the point.
    front_->send(abi::VhostUserRequest{99}, {});
    expect_refusal("request 99: it was not offered");
}

TEST_F(VhostUserTest, RefusesRequestsThatItDidNotOfferByTheirName) {
    front_->send(abi::VhostUserRequest::GetVringBaseSkipDrain,
                 abi::VhostUserVringState{.index = 0, .num = 0});
    expect_refusal("GET_VRING_BASE_SKIP_DRAIN: it was not offered");
}

TEST_F(VhostUserTest, RefusesPayloadsOfTheWrongSize) {
    front_->send(SetFeatures, std::uint32_t{1});
    expect_refusal("SET_FEATURES: payload has 4 B where 8 are due");
}

TEST_F(VhostUserTest, RefusesPayloadsBeyondTheLimit) {
    const std::vector<std::byte> bytes(VhostUserReader::kPayloadMax + 1);
    front_->send(SetOwner, std::span(bytes).first(VhostUserReader::kPayloadMax));
    EXPECT_FALSE(is_gone());
    front_->send(SetOwner, std::span(bytes));
    expect_refusal("SET_OWNER: payload of 269 B, limit 268");
}

TEST_F(VhostUserTest, RefusesOtherVersionsAndReplies) {
    front_->send(SetOwner, {}, {}, 2);
    expect_refusal("message flags 2");
}

TEST_F(VhostUserTest, RefusesDescriptorsWhereNoneAreDue) {
    const Fd fd = make_eventfd();
    const std::array fds{fd.ref()};
    front_->send(SetOwner, {}, fds);
    expect_refusal("SET_OWNER: descriptors came with it");
}

TEST_F(VhostUserTest, RefusesAKickWithoutItsDescriptor) {
    front_->send(SetVringKick, std::uint64_t{0});
    expect_refusal("SET_VRING_KICK: 0 descriptors");
}

TEST_F(VhostUserTest, RefusesAQueueThatWouldHaveToBePolled) {
    front_->send(SetVringKick, abi::kVhostUserVringNoFd);
    expect_refusal("polled");
}

TEST_F(VhostUserTest, RefusesSizesBeyondTheDevices) {
    front_->send(SetVringNum, abi::VhostUserVringState{.index = 0, .num = 8});
    EXPECT_FALSE(is_gone());
    front_->send(SetVringNum, abi::VhostUserVringState{.index = 0, .num = 9});
    expect_refusal("queue 0 of size 9, limit 8");
}

TEST_F(VhostUserTest, RefusesToChangeARunningQueue) {
    negotiate();
    (void)front_->start_queue(queue_, 0);
    front_->send(SetVringAddr, VhostUserFront::addresses_of(queue_, 0));
    expect_refusal("SET_VRING_ADDR: queue 0 is running");
}

TEST_F(VhostUserTest, RefusesRingsOutsideTheMemory) {
    negotiate();
    abi::VhostUserVringAddr address = VhostUserFront::addresses_of(queue_, 0);
    address.used = VhostUserFront::kUserBase + ram_.bytes().size();
    front_->send(SetVringNum, abi::VhostUserVringState{.index = 0, .num = 8});
    front_->send(SetVringAddr, address);
    const Fd kick = make_eventfd();
    const std::array fds{kick.ref()};
    front_->send(SetVringKick, std::uint64_t{0}, fds);
    front_->send(SetVringEnable, abi::VhostUserVringState{.index = 0, .num = 1});
    expect_refusal("queue 0: used ring: front end's address");
}

TEST_F(VhostUserTest, RefusesAQueueThatWasNeverDescribed) {
    front_->send(SetFeatures, kAcked);
    const Fd kick = make_eventfd();
    const std::array fds{kick.ref()};
    front_->send(SetVringKick, std::uint64_t{0}, fds);
    front_->send(SetVringEnable, abi::VhostUserVringState{.index = 0, .num = 1});
    expect_refusal("queue 0 has no memory, size or addresses");
}

struct OneRegion {
    abi::VhostUserMemoryHeader header;
    abi::VhostUserMemoryRegion region;
};

class VhostUserMemoryTest : public VhostUserTest {
protected:
    void share(const abi::VhostUserMemoryRegion& region) {
        const std::array fds{ram_.fd()};
        front_->send(SetMemTable, OneRegion{.header = {.count = 1, .padding = 0}, .region = region},
                     fds);
    }
    std::uint64_t size_ = ram_.bytes().size();
};

TEST_F(VhostUserMemoryTest, FileMayEndWithItsRegion) {
    share({.guest_address = 0, .size = size_ - 4096, .user_address = 0, .file_offset = 4096});
    EXPECT_FALSE(is_gone());
}

TEST_F(VhostUserMemoryTest, RefusesAFileThatEndsBeforeItsRegion) {
    share({.guest_address = 0, .size = size_ - 4095, .user_address = 0, .file_offset = 4096});
    expect_refusal("SET_MEM_TABLE: memory region 0: its file has 1048576 B, not");
}

TEST_F(VhostUserMemoryTest, RefusesRegionsThatWrap) {
    constexpr auto top = std::numeric_limits<std::uint64_t>::max();
    share({.guest_address = top - 10, .size = 4096, .user_address = 0, .file_offset = 0});
    expect_refusal("wraps");
}

TEST_F(VhostUserMemoryTest, RefusesOffsetsThatWrap) {
    constexpr auto top = std::numeric_limits<std::uint64_t>::max();
    share({.guest_address = 0, .size = 4096, .user_address = 0, .file_offset = top - 4095});
    expect_refusal("wraps");
}

TEST_F(VhostUserMemoryTest, RefusesEmptyTables) {
    front_->send(SetMemTable, abi::VhostUserMemoryHeader{.count = 0, .padding = 0});
    expect_refusal("share=on");
}

TEST_F(VhostUserMemoryTest, RefusesMoreRegionsThanDescriptors) {
    const std::array fds{ram_.fd()};
    front_->send(
        SetMemTable,
        OneRegion{
            .header = {.count = 2, .padding = 0},
            .region = {.guest_address = 0, .size = 4096, .user_address = 0, .file_offset = 0}},
        fds);
    expect_refusal("2 regions do not fit 40 B and 1 descriptors");
}

TEST_F(VhostUserMemoryTest, RefusesNineRegions) {
    struct Table {
        abi::VhostUserMemoryHeader header;
        std::array<std::byte, 8> rest;
    };
    front_->send(SetMemTable, Table{.header = {.count = 9, .padding = 0}, .rest = {}});
    expect_refusal("9 regions do not fit");
}

class VhostUserInflightTest : public VhostUserTest {
protected:
    static constexpr abi::VhostUserInflight kWanted{
        .mmap_size = 0, .mmap_offset = 0, .num_queues = 2, .queue_size = 8, .padding = {}};

    void get_inflight() {
        front_->send(GetInflightFd, kWanted);
        auto reply = front_->receive();
        ASSERT_TRUE(reply.has_value());
        ASSERT_EQ(reply->fds.size(), 1U);
        description_ = reply->as<abi::VhostUserInflight>();
        file_ = std::move(reply->fds[0]);
    }
    void set_inflight() {
        const std::array fds{file_.ref()};
        front_->send(SetInflightFd, description_, fds);
    }
    GuestAddress add_one() {
        const GuestAddress at = ram_.allocate(1);
        (void)queue_.add({{.at = at, .length = 1, .direction = Direction::FromDevice}});
        return at;
    }

    abi::VhostUserInflight description_{};
    Fd file_;
};

TEST_F(VhostUserInflightTest, WhatAKilledBackEndHadTakenIsServedOnce) {
    negotiate();
    get_inflight();
    set_inflight();
    const GuestAddress first = add_one();
    device_.is_stuck = false;
    auto fds = front_->start_queue(queue_, 0);
    EXPECT_EQ(ram_.text_at(first, 1), "x");
    device_.is_stuck = true;
    const GuestAddress second = add_one();
    const GuestAddress third = add_one();
    signal_eventfd(fds.kick);
    front_->run();
    EXPECT_EQ(queue_.used_idx(), 1);

    device_.is_stuck = false;
    restart_back_end();
    const GuestAddress fourth = add_one();
    ram_.write(first, '.');
    negotiate();
    set_inflight();
    fds = front_->start_queue(queue_, 0);
    EXPECT_FALSE(is_gone()) << why_gone_;
    EXPECT_EQ(ram_.text_at(first, 1), ".");
    EXPECT_EQ(ram_.text_at(second, 1) + ram_.text_at(third, 1) + ram_.text_at(fourth, 1), "xxx");
    EXPECT_EQ(queue_.used_idx(), 4);
    EXPECT_GT(drain_eventfd(fds.call), 0U);
    for (std::uint32_t head = 0; head < 4; ++head) {
        EXPECT_EQ(queue_.collect().value_or(abi::VirtqUsedElement{}).id, head);
    }
    EXPECT_FALSE(queue_.collect().has_value());
}

TEST_F(VhostUserInflightTest, AFrontEndThatLeavesThePaddingOutIsUnderstood) {
    negotiate();
    front_->send(GetInflightFd,
                 std::as_bytes(std::span(&kWanted, 1)).first(abi::kVhostUserInflightUnpadded));
    const auto reply = front_->receive();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->payload.size(), abi::kVhostUserInflightUnpadded);
    EXPECT_EQ(reply->fds.size(), 1U);
}

TEST_F(VhostUserInflightTest, AQueueMayBeSmallerThanItsRegion) {
    negotiate();
    front_->send(
        GetInflightFd,
        abi::VhostUserInflight{
            .mmap_size = 0, .mmap_offset = 0, .num_queues = 1, .queue_size = 128, .padding = {}});
    auto reply = front_->receive();
    ASSERT_TRUE(reply.has_value());
    description_ = reply->as<abi::VhostUserInflight>();
    file_ = std::move(reply->fds.at(0));
    set_inflight();
    add_buffer();
    (void)front_->start_queue(queue_, 0);
    EXPECT_EQ(stamp(), 'x');
}

TEST_F(VhostUserInflightTest, RefusesARegionThatIsTooSmallForTheQueue) {
    negotiate();
    get_inflight();
    description_.queue_size = 4;
    set_inflight();
    (void)front_->start_queue(queue_, 0);
    expect_refusal("queue 0: in-flight region is for 4 descriptors, and the queue has 8");
}

TEST_F(VhostUserInflightTest, RefusesAQueueWithoutARegion) {
    negotiate();
    get_inflight();
    description_.num_queues = 1;
    set_inflight();
    (void)front_->start_queue(queue_, 1);
    expect_refusal("queue 1: no in-flight region: there are 1");
}

TEST_F(VhostUserInflightTest, RefusesWhatWasNotAgreedUpon) {
    front_->send(SetProtocolFeatures, abi::kVhostUserProtocolReplyAck);
    front_->send(GetInflightFd, kWanted);
    expect_refusal("GET_INFLIGHT_FD: it was not agreed upon");
}

TEST_F(VhostUserInflightTest, RefusesToSetItWithoutAgreement) {
    negotiate();
    get_inflight();
    front_->send(SetProtocolFeatures, abi::kVhostUserProtocolReplyAck);
    set_inflight();
    expect_refusal("SET_INFLIGHT_FD: it was not agreed upon");
}

TEST_F(VhostUserInflightTest, RefusesImpossibleSizes) {
    negotiate();
    front_->send(
        GetInflightFd,
        abi::VhostUserInflight{
            .mmap_size = 0, .mmap_offset = 0, .num_queues = 3, .queue_size = 8, .padding = {}});
    expect_refusal("GET_INFLIGHT_FD: 3 queues of 8 descriptors; there are 2");
}

TEST_F(VhostUserInflightTest, RefusesSizesThatAreNoQueues) {
    negotiate();
    front_->send(
        GetInflightFd,
        abi::VhostUserInflight{
            .mmap_size = 0, .mmap_offset = 0, .num_queues = 1, .queue_size = 6, .padding = {}});
    expect_refusal("1 queues of 6 descriptors");
}

TEST_F(VhostUserInflightTest, RefusesToChangeItUnderARunningQueue) {
    negotiate();
    get_inflight();
    set_inflight();
    (void)front_->start_queue(queue_, 0);
    set_inflight();
    expect_refusal("SET_INFLIGHT_FD: queues are running");
}

TEST_F(VhostUserInflightTest, RefusesAFileThatIsTooShort) {
    negotiate();
    get_inflight();
    description_.mmap_offset = 4096;
    set_inflight();
    expect_refusal("SET_INFLIGHT_FD: in-flight file has 384 B");
}

TEST_F(VhostUserInflightTest, RefusesAFileThatMayShrink) {
    negotiate();
    get_inflight();
    const std::array fds{ram_.fd()};
    front_->send(SetInflightFd, description_, fds);
    expect_refusal("SET_INFLIGHT_FD: in-flight file is not sealed against shrinking");
}

TEST_F(VhostUserInflightTest, RefusesItWithoutItsDescriptor) {
    negotiate();
    get_inflight();
    front_->send(SetInflightFd, description_);
    expect_refusal("SET_INFLIGHT_FD: 0 descriptors came with it");
}

TEST_F(VhostUserInflightTest, RefusesPayloadsOfOtherSizes) {
    negotiate();
    front_->send(GetInflightFd, std::uint64_t{0});
    expect_refusal("GET_INFLIGHT_FD: payload has 8 B where 24 are due");
}

TEST_F(VhostUserTest, AChangedConfigurationIsAnnouncedToTheFrontEnd) {
    negotiate();
    auto [ours, theirs] = *socket_pair();
    const std::array fds{theirs.ref()};
    front_->send(SetBackendReqFd, {}, fds);
    (void)front_->start_queue(queue_, 0);
    device_.change_config();
    abi::VhostUserHeader header{};
    const auto got = receive_some(ours.ref(), std::as_writable_bytes(std::span(&header, 1)));
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->size, sizeof(header));
    EXPECT_EQ(header.request, std::to_underlying(abi::VhostUserBackendRequest::ConfigChange));
    EXPECT_EQ(header.flags, abi::kVhostUserVersion);
    EXPECT_EQ(header.size, 0U);
}

TEST_F(VhostUserTest, AFrontEndThatDoesNotReadItsChannelIsServedOn) {
    negotiate();
    auto [ours, theirs] = *socket_pair();
    const std::array fds{theirs.ref()};
    front_->send(SetBackendReqFd, {}, fds);
    const auto queue = front_->start_queue(queue_, 0);
    for (int i = 0; i < 100'000; ++i) {
        device_.change_config();
    }
    ours = Fd();
    device_.change_config();
    add_buffer();
    signal_eventfd(queue.kick);
    front_->run();
    EXPECT_EQ(stamp(), 'x');
}

TEST_F(VhostUserTest, RefusesAChannelThatIsNoSocket) {
    negotiate();
    const Fd fd = make_eventfd();
    const std::array fds{fd.ref()};
    front_->send(SetBackendReqFd, {}, fds);
    expect_refusal("SET_BACKEND_REQ_FD: 1 descriptors came, not one socket");
}

TEST_F(VhostUserTest, RefusesAChannelThatWasNotAgreedUpon) {
    front_->send(SetBackendReqFd, {});
    expect_refusal("SET_BACKEND_REQ_FD: it was not agreed upon");
}

}  // namespace
}  // namespace pepita::virtio
