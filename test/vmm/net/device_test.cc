#include "vmm/net/device.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/virtio_net.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"
#include "vmm/net/frame.h"

namespace pepita::vmm::net {
namespace {

using std::chrono_literals::operator""ms;
using test::Buffer;
using test::Direction;

constexpr std::size_t kHeader = sizeof(FrameHeader);
constexpr std::uint16_t kSize = 64;
constexpr std::array<std::uint8_t, 6> kMac{2, 0, 0, 0, 0, 7};
constexpr std::uint64_t kAllFeatures = test::kRingFeatures | abi::kVirtioNetFCsum |
                                       abi::kVirtioNetFGuestCsum | abi::kVirtioNetFHostTso4 |
                                       abi::kVirtioNetFMrgRxbuf | abi::kVirtioNetFCtrlVq |
                                       abi::kVirtioNetFCtrlGuestOffloads | abi::kVirtioNetFMq;

Options options_of(std::uint16_t mtu = 0, std::uint64_t rate = 0) {
    return {.mac = kMac, .mtu = mtu, .rx_bytes_per_second = rate, .tx_bytes_per_second = rate};
}

std::string frame_of(std::string_view payload) {
    return std::string(kHeader, '\0').append(payload);
}

FrameHeader header_of(std::uint8_t flags, int gso_type = abi::kVirtioNetHdrGsoNone) {
    FrameHeader header{};
    header.flags = flags;
    header.gso_type = static_cast<std::uint8_t>(gso_type);
    header.gso_size = 1400;
    header.csum = {.start = 14, .offset = 6};
    return header;
}

/// A device with socket pairs for the queues of its tap: a message is a frame.
class NetDeviceTest : public testing::Test {
protected:
    void make(std::size_t pairs, const Options& options = options_of()) {
        std::vector<Fd> taps;
        for (std::size_t i = 0; i < pairs; ++i) {
            auto [ours, theirs] = *message_socket_pair();
            const int size = 4 << 20;
            (void)::setsockopt(theirs.ref().number(), SOL_SOCKET, SO_SNDBUFFORCE, &size,
                               sizeof(size));
            taps.push_back(std::move(ours));
            wires_.push_back(std::move(theirs));
        }
        device_ = *NetDevice::create(*loop_, std::move(taps), options);
    }
    void start(std::uint64_t features = kAllFeatures) {
        device_->start({.memory = ram_.memory(), .features = features, .notifier = notifier_});
        for (std::uint16_t i = 0; i < device_->queue_sizes().size(); ++i) {
            queues_.push_back(std::make_unique<test::QueueDriver>(
                ram_, test::QueueDriver::Options{.size = kSize, .features = features}));
            EXPECT_TRUE(device_->start_queue(i, queues_[i]->setup()).has_value());
        }
    }
    void run() { (void)loop_->run_once(0ms).has_value(); }

    void put_on_wire(std::string_view frame, std::size_t wire = 0) {
        EXPECT_TRUE(send_some(wires_[wire].ref(), std::as_bytes(std::span(frame))).has_value());
        run();
    }
    std::optional<std::string> take_off_wire(std::size_t wire = 0) {
        std::string frame(kFrameMax, '\0');
        const auto got = receive_some(wires_[wire].ref(), std::as_writable_bytes(std::span(frame)));
        if (!got) {
            return std::nullopt;
        }
        frame.resize(got->size);
        return frame;
    }
    void give_buffers(std::uint16_t queue, std::uint32_t length, int count) {
        for (int i = 0; i < count; ++i) {
            const auto at = ram_.allocate(length);
            const std::uint16_t head = queues_[queue]->add(
                {{.at = at, .length = length, .direction = Direction::FromDevice}});
            buffers_[{queue, head}] = at;
        }
        device_->kick(queue);
    }
    /// What the driver was given in one buffer; nothing where none was used.
    std::optional<std::string> receive(std::uint16_t queue = 0) {
        const auto used = queues_[queue]->collect();
        if (!used) {
            return std::nullopt;
        }
        return ram_.text_at(buffers_.at({queue, used->id}), used->length);
    }
    void transmit(const FrameHeader& header, std::string_view payload, std::uint16_t queue = 1) {
        const auto head = ram_.place(std::as_bytes(std::span(&header, 1)));
        const auto body = ram_.place(payload);
        queues_[queue]->add({{.at = head, .length = kHeader},
                             {.at = body, .length = static_cast<std::uint32_t>(payload.size())}});
        device_->kick(queue);
    }
    /// The answer to a command: abi::kVirtioNetOk, or kVirtioNetErr.
    template <typename T>
    std::uint8_t command(std::uint8_t command_class, std::uint8_t number, const T& argument) {
        const abi::VirtioNetCtrlHdr header{.command_class = command_class, .command = number};
        const auto answer = ram_.place(std::string_view("?"));
        const auto queue = static_cast<std::uint16_t>(device_->queue_sizes().size() - 1);
        queues_[queue]->add(
            {{.at = ram_.place(std::as_bytes(std::span(&header, 1))), .length = sizeof(header)},
             {.at = ram_.place(std::as_bytes(std::span(&argument, 1))), .length = sizeof(argument)},
             {.at = answer, .length = 1, .direction = Direction::FromDevice}});
        device_->kick(queue);
        EXPECT_EQ(queues_[queue]->collect()->length, 1U);
        return ram_.read<std::uint8_t>(answer);
    }
    std::uint8_t use_pairs(std::uint16_t pairs) {
        return command(abi::kVirtioNetCtrlMq, abi::kVirtioNetCtrlMqVqPairsSet,
                       abi::VirtioNetCtrlMq{.virtqueue_pairs = pairs});
    }
    abi::VirtioNetConfig config() const {
        abi::VirtioNetConfig config{};
        std::memcpy(&config, device_->config().data(), sizeof(config));
        return config;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    test::GuestRam ram_{16_MiB};
    test::CountingNotifier notifier_;
    std::vector<Fd> wires_;
    std::unique_ptr<NetDevice> device_;
    std::vector<std::unique_ptr<test::QueueDriver>> queues_;
    std::map<std::pair<std::uint16_t, std::uint32_t>, virtio::GuestAddress> buffers_;
};

TEST_F(NetDeviceTest, SendsAFrameWithItsHeader) {
    make(1);
    start();
    transmit(header_of(abi::kVirtioNetHdrFNeedsCsum), "ping");
    const auto frame = take_off_wire();
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->substr(kHeader), "ping");
    EXPECT_EQ(frame->at(0), abi::kVirtioNetHdrFNeedsCsum);
    EXPECT_EQ(frame->at(offsetof(FrameHeader, csum)), 14);
    EXPECT_EQ(queues_[1]->collect()->length, 0U);
    EXPECT_EQ(notifier_.used[1], 1);
}

TEST_F(NetDeviceTest, SendsNoFrameThatAsksForWhatWasNotAgreed) {
    make(1);
    start();  // without ECN, TSO6 and UFO
    transmit(header_of(0, abi::kVirtioNetHdrGsoTcpv6), "tso6");
    transmit(header_of(0, abi::kVirtioNetHdrGsoUdp), "ufo");
    transmit(header_of(0, abi::kVirtioNetHdrGsoTcpv4 | abi::kVirtioNetHdrGsoEcn), "ecn");
    transmit(header_of(abi::kVirtioNetHdrFDataValid), "flag");
    EXPECT_FALSE(take_off_wire().has_value());
    transmit(header_of(0, abi::kVirtioNetHdrGsoTcpv4), "tso4");
    EXPECT_EQ(take_off_wire()->substr(kHeader), "tso4");
    for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(queues_[1]->collect().has_value());  // each buffer came back
    }
}

TEST_F(NetDeviceTest, SendsTheLargestFrameAndNoLargerOne) {
    make(1);
    start();
    transmit({}, std::string(kFrameMax - kHeader, 'x'));
    EXPECT_EQ(take_off_wire()->size(), kFrameMax);
    transmit({}, std::string(kFrameMax - kHeader + 1, 'x'));
    EXPECT_FALSE(take_off_wire().has_value());
    EXPECT_TRUE(queues_[1]->collect().has_value());
    EXPECT_TRUE(queues_[1]->collect().has_value());
}

TEST_F(NetDeviceTest, SendsNothingForChainsThatAreNoFrame) {
    make(1);
    start();
    const auto at = ram_.allocate(64);
    queues_[1]->add({{.at = at, .length = kHeader - 1}});
    queues_[1]->add({{.at = at, .length = kHeader}});
    queues_[1]->add({{.at = at, .length = 64, .direction = Direction::FromDevice}});
    device_->kick(1);
    EXPECT_FALSE(take_off_wire().has_value());
    EXPECT_TRUE(queues_[1]->collect().has_value());
    EXPECT_TRUE(queues_[1]->collect().has_value());
    EXPECT_TRUE(queues_[1]->collect().has_value());
}

TEST_F(NetDeviceTest, ReceivesIntoOneBuffer) {
    make(1);
    start();
    give_buffers(0, 2048, 40);
    put_on_wire(frame_of("pong"));
    const auto frame = receive();
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->substr(kHeader), "pong");
    EXPECT_EQ(frame->at(offsetof(FrameHeader, num_buffers)), 1);
    EXPECT_EQ(notifier_.used[0], 1);
}

TEST_F(NetDeviceTest, ReceivesALargeFrameIntoSeveralBuffers) {
    make(1);
    start();
    give_buffers(0, 1536, 60);
    std::string payload(5000, 'a');
    std::ranges::generate(payload, [i = 0]() mutable { return static_cast<char>(++i * 7); });
    put_on_wire(frame_of(payload));
    const auto first = receive();
    ASSERT_TRUE(first.has_value());
    EXPECT_EQ(first->at(offsetof(FrameHeader, num_buffers)), 4);  // 5012 bytes in 1536 each
    std::string whole = first->substr(kHeader);
    whole.append(*receive());
    whole.append(*receive());
    whole.append(*receive());
    EXPECT_TRUE(whole == payload);
    EXPECT_FALSE(receive().has_value());
    EXPECT_EQ(notifier_.used[0], 1);
    put_on_wire(frame_of("next"));
    EXPECT_EQ(receive()->substr(kHeader), "next");
}

TEST_F(NetDeviceTest, CountsTheBuffersWhereTheHeaderIsCut) {
    make(1);
    start();
    const auto at = ram_.allocate(128);
    queues_[0]->add({{.at = at, .length = 11, .direction = Direction::FromDevice},
                     {.at = virtio::GuestAddress{std::to_underlying(at) + 11},
                      .length = 89,
                      .direction = Direction::FromDevice}});
    give_buffers(0, 2048, 50);
    put_on_wire(frame_of("cut"));
    EXPECT_EQ(queues_[0]->collect()->length, kHeader + 3);
    EXPECT_EQ(ram_.read<std::uint16_t>(virtio::GuestAddress{std::to_underlying(at) + 10}), 1);
}

TEST_F(NetDeviceTest, KeepsFramesUntilThereAreBuffers) {
    make(1);
    start();
    put_on_wire(frame_of("early"));
    EXPECT_FALSE(receive().has_value());
    give_buffers(0, 2048, 40);
    EXPECT_EQ(receive()->substr(kHeader), "early");
}

// Linux refills a queue when half of it is free: who waited for more than the other half, waited
// for ever.
TEST_F(NetDeviceTest, ReceivesWithHalfAQueueOfSmallBuffers) {
    make(1);
    start();
    give_buffers(0, 256, kSize / 2);
    put_on_wire(frame_of("small"));
    EXPECT_EQ(receive()->substr(kHeader), "small");
}

TEST_F(NetDeviceTest, DropsAFrameThatIsLargerThanAllBuffers) {
    make(1);
    start();
    give_buffers(0, 256, kSize / 2);
    put_on_wire(frame_of(std::string(9000, 'x')));
    EXPECT_FALSE(receive().has_value());
    put_on_wire(frame_of("fits"));
    EXPECT_EQ(receive()->substr(kHeader), "fits");
}

TEST_F(NetDeviceTest, WithoutMergeableBuffersAFrameHasOne) {
    make(1);
    start(kAllFeatures & ~abi::kVirtioNetFMrgRxbuf);
    give_buffers(0, 1536, 4);
    put_on_wire(frame_of(std::string(2000, 'x')));
    EXPECT_FALSE(receive().has_value());
    put_on_wire(frame_of("one"));
    const auto frame = receive();
    EXPECT_EQ(frame->substr(kHeader), "one");
    EXPECT_EQ(frame->at(offsetof(FrameHeader, num_buffers)), 1);
}

TEST_F(NetDeviceTest, GivesUselessBuffersBack) {
    make(1);
    start();
    give_buffers(0, kHeader - 1, 3);
    EXPECT_EQ(receive(), "");
    EXPECT_EQ(receive(), "");
    EXPECT_EQ(receive(), "");
}

TEST_F(NetDeviceTest, SuccessorBeginsAtTheFirstUnusedBuffer) {
    make(1);
    start();
    give_buffers(0, 2048, 50);
    put_on_wire(frame_of("a"));
    put_on_wire(frame_of("b"));
    EXPECT_EQ(device_->stop_queue(0), 2);
    EXPECT_EQ(device_->stop_queue(0), 0);
    transmit({}, "x");
    EXPECT_EQ(device_->stop_queue(1), 1);
}

TEST_F(NetDeviceTest, StopsReadingAtAReset) {
    make(1);
    start();
    give_buffers(0, 2048, 40);
    device_->reset();
    put_on_wire(frame_of("late"));
    EXPECT_FALSE(receive().has_value());
}

TEST_F(NetDeviceTest, UsesThePairsThatTheDriverAsksFor) {
    make(2);
    start();
    give_buffers(0, 2048, 40);
    give_buffers(2, 2048, 40);
    put_on_wire(frame_of("one pair"), 1);
    EXPECT_EQ(receive(0)->substr(kHeader), "one pair");
    EXPECT_EQ(use_pairs(2), abi::kVirtioNetOk);
    put_on_wire(frame_of("two pairs"), 1);
    EXPECT_FALSE(receive(0).has_value());
    EXPECT_EQ(receive(2)->substr(kHeader), "two pairs");
    transmit({}, "second", 3);
    EXPECT_EQ(take_off_wire(1)->substr(kHeader), "second");
}

TEST_F(NetDeviceTest, RefusesCommands) {
    make(2);
    start();
    EXPECT_EQ(use_pairs(0), abi::kVirtioNetErr);
    EXPECT_EQ(use_pairs(3), abi::kVirtioNetErr);
    const auto offloads = [this](std::uint64_t features) {
        return command(abi::kVirtioNetCtrlGuestOffloads, abi::kVirtioNetCtrlGuestOffloadsSet,
                       features);
    };
    EXPECT_EQ(offloads(0), abi::kVirtioNetOk);
    EXPECT_EQ(offloads(abi::kVirtioNetFGuestCsum), abi::kVirtioNetOk);
    EXPECT_EQ(offloads(abi::kVirtioNetFGuestTso4), abi::kVirtioNetErr);  // was not agreed
    EXPECT_EQ(offloads(abi::kVirtioNetFCsum), abi::kVirtioNetErr);       // is the other direction
    EXPECT_EQ(command(abi::kVirtioNetCtrlRx, 0, std::uint8_t{1}), abi::kVirtioNetErr);
    EXPECT_EQ(command(abi::kVirtioNetCtrlMq, 0, std::uint8_t{1}), abi::kVirtioNetErr);  // too short
}

TEST_F(NetDeviceTest, ConfigurationHasWhatTheDriverReads) {
    make(2, options_of(1400));
    EXPECT_EQ(config().mac, kMac);
    EXPECT_EQ(config().mtu, 1400);
    EXPECT_EQ(config().max_virtqueue_pairs, 2);
    EXPECT_NE(device_->features() & abi::kVirtioNetFMtu, 0U);
    EXPECT_NE(device_->features() & abi::kVirtioNetFMq, 0U);
    make(1);
    EXPECT_EQ(device_->features() & (abi::kVirtioNetFMtu | abi::kVirtioNetFMq), 0U);
}

TEST_F(NetDeviceTest, TellsOfTheLink) {
    make(1);
    start();
    EXPECT_EQ(config().status, abi::kVirtioNetSLinkUp);
    device_->set_link(false);
    device_->set_link(false);
    EXPECT_EQ(config().status, 0);
    EXPECT_EQ(notifier_.config_changes, 1);
}

TEST_F(NetDeviceTest, LinkIsDownOnceTheTapIsGone) {
    make(1);
    start();
    give_buffers(0, 2048, 40);
    wires_[0] = Fd();
    run();
    EXPECT_EQ(config().status, 0);
    transmit({}, "into the void");
    EXPECT_TRUE(queues_[1]->collect().has_value());
}

TEST_F(NetDeviceTest, BrokenRingIsTold) {
    make(1);
    start();
    queues_[1]->publish(kSize);
    device_->kick(1);
    EXPECT_EQ(notifier_.broken[1], 1);
}

TEST_F(NetDeviceTest, RateHoldsFramesBackInBothDirections) {
    // 100 ms of it are a burst of 1000 bytes.
    make(1, options_of(0, 10'000));
    start();
    give_buffers(0, 2048, 50);
    const std::string payload(1000, 'x');
    put_on_wire(frame_of(payload));
    put_on_wire(frame_of(payload));
    EXPECT_TRUE(receive().has_value());
    EXPECT_FALSE(receive().has_value());
    transmit({}, payload);
    transmit({}, payload);
    EXPECT_TRUE(take_off_wire().has_value());
    EXPECT_FALSE(take_off_wire().has_value());
    std::optional<std::string> received;
    std::optional<std::string> sent;
    while (!received || !sent) {  // hangs where the device forgets them
        (void)loop_->run_once(10ms).has_value();
        received = received ? std::move(received) : receive();
        sent = sent ? std::move(sent) : take_off_wire();
    }
    EXPECT_EQ(received->size(), kHeader + 1000);
}

TEST_F(NetDeviceTest, NeedsATap) { EXPECT_FALSE(NetDevice::create(*loop_, {}, {}).has_value()); }

}  // namespace
}  // namespace pepita::vmm::net
