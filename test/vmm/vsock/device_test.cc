#include "vmm/vsock/device.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "test/support/vsock_guest.h"
#include "vmm/vsock/connection.h"
#include "vmm/vsock/handshake.h"
#include "vmm/vsock/muxer.h"
#include "vmm/vsock/packet.h"

namespace pepita::vmm::vsock {
namespace {

using std::chrono::milliseconds;
using test::VsockGuest;
using test::VsockMessage;

constexpr std::uint32_t kGuestPort = 1000;
constexpr std::uint32_t kHostPort = 52;
constexpr std::uint32_t kPlenty = 1U << 20U;
constexpr Ports kPorts{.host = kHostPort, .guest = kGuestPort};

class VsockDeviceTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "vsock-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
        make_device({});
    }
    void TearDown() override {
        guest_.reset();
        device_.reset();
        std::filesystem::remove_all(directory_);
    }

    void make_device(Options options) {
        guest_.reset();
        device_.reset();
        (void)::unlink(path().c_str());
        options.guest_cid = VsockGuest::kCid;
        options.guest_prefix = path();
        device_ = *VsockDevice::create(*loop_, *listen_unix(path()), options);
        guest_ = std::make_unique<VsockGuest>(*device_);
    }

    std::string path() const { return directory_ + "/v.sock"; }

    // False where it did not come true in a long time.
    bool run_until(const std::function<bool()>& done) {
        const auto limit = EventLoop::Clock::now() + std::chrono::seconds(20);
        while (!done()) {
            if (EventLoop::Clock::now() > limit || !loop_->run_once(milliseconds(20))) {
                return false;
            }
        }
        return true;
    }
    // Whether the loop sleeps once it has done what there is to do.
    bool loop_sleeps() {
        for (int i = 0; i < 3; ++i) {
            loop_->run_once(milliseconds(1)).value();
        }
        const auto before = EventLoop::Clock::now();
        loop_->run_once(milliseconds(50)).value();
        return EventLoop::Clock::now() - before >= milliseconds(40);
    }

    VsockMessage expect_message() {
        std::optional<VsockMessage> message;
        EXPECT_TRUE(run_until([&] { return (message = guest_->receive()).has_value(); }));
        return message.value_or(VsockMessage{});
    }
    bool is_quiet() {
        for (int i = 0; i < 3; ++i) {
            loop_->run_once(milliseconds(1)).value();
        }
        return !guest_->receive().has_value();
    }

    static void write_all(FdRef socket, std::string_view text) {
        ASSERT_EQ(*send_some(socket, std::as_bytes(std::span(text))), text.size());
    }
    // What is there now; "" at the end too.
    static std::string read_now(FdRef socket) {
        std::string text(kPlenty, '\0');
        const ssize_t got = ::recv(socket.number(), text.data(), text.size(), MSG_DONTWAIT);
        text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return text;
    }
    static bool is_at_end(FdRef socket) {
        std::byte byte{};
        const ssize_t got = ::recv(socket.number(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        return got == 0 || (got < 0 && errno == ECONNRESET);
    }
    bool ends(FdRef socket) {
        return run_until([&] { return is_at_end(socket); });
    }

    Fd ask(std::string_view line) {
        Fd client = *connect_unix(path());
        write_all(client.ref(), line);
        return client;
    }

    static Packet from_guest(VsockOp op, Ports ports = kPorts) {
        return {.ports = ports, .op = op, .buf_alloc = kPlenty};
    }
    void shut_down(std::uint32_t flags, Ports ports = kPorts) {
        Packet packet = from_guest(VsockOp::Shutdown, ports);
        packet.flags = flags;
        guest_->send(packet);
    }

    struct Opened {
        Fd client;
        Ports ports;
    };
    Opened open_from_host(std::uint32_t buf_alloc = kPlenty) {
        Fd client = ask("CONNECT 1000\n");
        const VsockMessage request = expect_message();
        EXPECT_EQ(request.op, VsockOp::Request);
        Packet response = from_guest(VsockOp::Response, request.ports);
        response.buf_alloc = buf_alloc;
        guest_->send(response);
        EXPECT_EQ(read_now(client.ref()), "OK " + std::to_string(request.ports.host) + "\n");
        return {.client = std::move(client), .ports = request.ports};
    }
    // The host's end, accepted from a listener for kHostPort.
    Fd open_from_guest() {
        const Fd listener = *listen_unix(path() + "_52");
        guest_->send(from_guest(VsockOp::Request));
        EXPECT_EQ(expect_message().op, VsockOp::Response);
        return *accept_client(listener.ref());
    }

    std::string directory_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<VsockDevice> device_;
    std::unique_ptr<VsockGuest> guest_;
};

TEST_F(VsockDeviceTest, TellsTheGuestItsCid) {
    const std::array<std::byte, 8> expected{std::byte{3}};
    EXPECT_TRUE(std::ranges::equal(device_->config(), expected));
}

TEST_F(VsockDeviceTest, RefusesCidsThatNoGuestMayHave) {
    const auto create = [&](std::uint64_t cid) {
        return VsockDevice::create(*loop_, *listen_unix(path() + "." + std::to_string(cid)),
                                   {.guest_cid = cid, .guest_prefix = ""})
            .has_value();
    };
    EXPECT_FALSE(create(2));
    EXPECT_TRUE(create(3));
    EXPECT_TRUE(create(0xfffffffe));
    EXPECT_FALSE(create(0xffffffff));
}

TEST_F(VsockDeviceTest, HostConnectsAndIsToldItsPort) {
    guest_->start();
    const Fd client = ask("CONNECT 1000\n");
    const VsockMessage request = expect_message();
    EXPECT_EQ(request.op, VsockOp::Request);
    EXPECT_EQ(request.ports, (Ports{.host = 1U << 30U, .guest = 1000}));
    EXPECT_EQ(request.buf_alloc, kBufferSize);
    EXPECT_EQ(read_now(client.ref()), "");
    guest_->send(from_guest(VsockOp::Response, request.ports));
    EXPECT_EQ(read_now(client.ref()), "OK 1073741824\n");
}

TEST_F(VsockDeviceTest, TwoClientsOfOneGuestPortGetDifferentPorts) {
    guest_->start();
    const Opened a = open_from_host();
    const Opened b = open_from_host();
    EXPECT_EQ(b.ports.host, a.ports.host + 1);
}

TEST_F(VsockDeviceTest, RefusedHostClientIsClosed) {
    guest_->start();
    const Fd client = ask("CONNECT 1000\n");
    guest_->send(from_guest(VsockOp::Rst, expect_message().ports));
    EXPECT_TRUE(ends(client.ref()));
    EXPECT_EQ(device_->muxer().connections(), 0U);
}

TEST_F(VsockDeviceTest, ClientThatAsksForNothingSensibleIsClosed) {
    guest_->start();
    const Fd client = ask("HELLO\n");
    EXPECT_TRUE(ends(client.ref()));
    const Fd endless = ask(std::string(Handshake::kLineMax, 'C'));
    EXPECT_TRUE(ends(endless.ref()));
    EXPECT_TRUE(is_quiet());
}

TEST_F(VsockDeviceTest, BytesBehindTheConnectLineAreTheGuests) {
    guest_->start();
    const Fd client = ask("CONNECT 1000\nhello");
    const Ports ports = expect_message().ports;
    guest_->send(from_guest(VsockOp::Response, ports));
    const VsockMessage data = expect_message();
    EXPECT_EQ(data.op, VsockOp::Rw);
    EXPECT_EQ(data.payload, "hello");
}

TEST_F(VsockDeviceTest, ConnectBeforeTheDriverIsUpWaits) {
    const Fd client = ask("CONNECT 1000\n");
    ASSERT_TRUE(run_until([&] { return device_->muxer().connections() == 1; }));
    device_->reset();  // as each driver begins
    guest_->start();
    const VsockMessage request = expect_message();
    EXPECT_EQ(request.op, VsockOp::Request);
    guest_->send(from_guest(VsockOp::Response, request.ports));
    EXPECT_NE(read_now(client.ref()), "");
}

TEST_F(VsockDeviceTest, NoMoreThanAFewConnectsWait) {
    make_device({.guest_prefix = {}, .unsent_max = 2});
    const Fd first = ask("CONNECT 1\n");
    const Fd second = ask("CONNECT 2\n");
    ASSERT_TRUE(run_until([&] { return device_->muxer().connections() == 2; }));
    const Fd third = ask("CONNECT 3\n");
    EXPECT_TRUE(ends(third.ref()));
    EXPECT_FALSE(is_at_end(first.ref()));
    EXPECT_FALSE(is_at_end(second.ref()));
}

TEST_F(VsockDeviceTest, ClientThatGivesUpWaitingIsForgotten) {
    Fd client = ask("CONNECT 1000\n");
    ASSERT_TRUE(run_until([&] { return device_->muxer().connections() == 1; }));
    client = Fd();
    EXPECT_TRUE(run_until([&] { return device_->muxer().connections() == 0; }));
    guest_->start();
    EXPECT_TRUE(is_quiet());
}

TEST_F(VsockDeviceTest, SilentClientsGiveWayToOthers) {
    make_device({.guest_prefix = {}, .handshakes_max = 2});
    guest_->start();
    const Fd oldest = ask("CONN");
    const Fd newer = ask("");
    ASSERT_TRUE(run_until([&] { return device_->muxer().handshakes() == 2; }));
    const Opened opened = open_from_host();
    EXPECT_TRUE(ends(oldest.ref()));
    EXPECT_FALSE(is_at_end(newer.ref()));
}

TEST_F(VsockDeviceTest, GuestThatDoesNotAnswerIsGivenUp) {
    make_device({.guest_prefix = {}, .answer_timeout = milliseconds(10)});
    guest_->start();
    const Fd client = ask("CONNECT 1000\n");
    EXPECT_EQ(expect_message().op, VsockOp::Request);
    EXPECT_TRUE(ends(client.ref()));
    EXPECT_EQ(expect_message().op, VsockOp::Rst);
}

TEST_F(VsockDeviceTest, GuestReachesAHostListener) {
    guest_->start();
    const Fd host = open_from_guest();
    guest_->send(from_guest(VsockOp::Rw), "ping");
    EXPECT_EQ(read_now(host.ref()), "ping");
    write_all(host.ref(), "pong");
    const VsockMessage answer = expect_message();
    EXPECT_EQ(answer.op, VsockOp::Rw);
    EXPECT_EQ(answer.payload, "pong");
    EXPECT_EQ(answer.fwd_cnt, 4U);
}

TEST_F(VsockDeviceTest, NobodyListeningMeansReset) {
    guest_->start();
    guest_->send(from_guest(VsockOp::Request));
    const VsockMessage answer = expect_message();
    EXPECT_EQ(answer.op, VsockOp::Rst);
    EXPECT_EQ(answer.ports, kPorts);
}

TEST_F(VsockDeviceTest, PacketOfNoConnectionIsReset) {
    guest_->start();
    guest_->send(from_guest(VsockOp::Rw), "lost");
    EXPECT_EQ(expect_message().op, VsockOp::Rst);
    guest_->send(from_guest(VsockOp::Rst));
    EXPECT_TRUE(is_quiet());
}

TEST_F(VsockDeviceTest, OtherSocketTypesAreReset) {
    guest_->start();
    Packet packet = from_guest(VsockOp::Request);
    packet.type = 2;
    guest_->send(packet);
    const VsockMessage answer = expect_message();
    EXPECT_EQ(answer.op, VsockOp::Rst);
    EXPECT_EQ(answer.type, 2);
}

TEST_F(VsockDeviceTest, LengthBeyondTheChainEndsTheConnection) {
    guest_->start();
    const Fd host = open_from_guest();
    Packet packet = from_guest(VsockOp::Rw);
    packet.length = 5;
    ASSERT_TRUE(guest_->send_raw(test::guest_header(packet), "four"));
    EXPECT_EQ(expect_message().op, VsockOp::Rst);
    EXPECT_TRUE(is_at_end(host.ref()));
    EXPECT_EQ(device_->muxer().connections(), 0U);
}

TEST_F(VsockDeviceTest, ConnectionsAreLimited) {
    make_device({.guest_prefix = {}, .connections_max = 2});
    guest_->start();
    const Opened a = open_from_host();
    const Fd b = open_from_guest();
    const Fd listener = *listen_unix(path() + "_53");
    guest_->send(from_guest(VsockOp::Request, {.host = 53, .guest = kGuestPort}));
    EXPECT_EQ(expect_message().op, VsockOp::Rst);
    const Fd c = ask("CONNECT 1000\n");
    EXPECT_TRUE(ends(c.ref()));
}

TEST_F(VsockDeviceTest, GuestsHalfCloseReachesTheClientAfterItsBytes) {
    guest_->start();
    const Fd host = open_from_guest();
    guest_->send(from_guest(VsockOp::Rw), "last words");
    shut_down(abi::kVsockShutdownSend);
    EXPECT_EQ(read_now(host.ref()), "last words");
    EXPECT_TRUE(is_at_end(host.ref()));
    write_all(host.ref(), "still talking");
    EXPECT_EQ(expect_message().payload, "still talking");
}

TEST_F(VsockDeviceTest, ClientsHalfCloseReachesTheGuestAfterItsBytes) {
    guest_->start();
    const Opened opened = open_from_host();
    write_all(opened.client.ref(), "last words");
    ASSERT_EQ(::shutdown(opened.client.ref().number(), SHUT_WR), 0);
    EXPECT_EQ(expect_message().payload, "last words");
    const VsockMessage end = expect_message();
    EXPECT_EQ(end.op, VsockOp::Shutdown);
    EXPECT_EQ(end.flags, abi::kVsockShutdownSend);
    guest_->send(from_guest(VsockOp::Rw, opened.ports), "still talking");
    EXPECT_EQ(read_now(opened.client.ref()), "still talking");
}

TEST_F(VsockDeviceTest, ClientThatClosesIsReportedAfterItsBytes) {
    guest_->start();
    Opened opened = open_from_host();
    write_all(opened.client.ref(), "last words");
    opened.client = Fd();
    std::string text;
    std::uint32_t flags = 0;
    EXPECT_TRUE(run_until([&] {
        while (const std::optional<VsockMessage> message = guest_->receive()) {
            text += message->payload;
            flags |= message->flags;
        }
        return flags == abi::kVsockShutdownBoth;
    }));
    EXPECT_EQ(text, "last words");
    guest_->send(from_guest(VsockOp::Rst, opened.ports));
    EXPECT_EQ(device_->muxer().connections(), 0U);
}

TEST_F(VsockDeviceTest, GuestThatDoesNotConfirmTheEndIsReset) {
    make_device({.guest_prefix = {}, .answer_timeout = milliseconds(10)});
    guest_->start();
    Opened opened = open_from_host();
    opened.client = Fd();
    EXPECT_TRUE(run_until([&] {
        const std::optional<VsockMessage> message = guest_->receive();
        return message && message->op == VsockOp::Rst;
    }));
    EXPECT_EQ(device_->muxer().connections(), 0U);
}

TEST_F(VsockDeviceTest, GuestsCloseIsConfirmedAndEndsTheClient) {
    guest_->start();
    const Fd host = open_from_guest();
    shut_down(abi::kVsockShutdownBoth);
    EXPECT_EQ(expect_message().op, VsockOp::Rst);
    EXPECT_TRUE(is_at_end(host.ref()));
    EXPECT_EQ(device_->muxer().connections(), 0U);
}

// Fills the client's socket and the whole credit behind it; gives all bytes sent.
std::string flood(VsockGuest& guest, Ports ports) {
    std::string sent;
    std::uint32_t credit = kBufferSize;
    std::uint32_t told = 0;
    for (char letter = 'a';; letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1)) {
        while (const std::optional<VsockMessage> message = guest.receive()) {
            told = message->fwd_cnt;
        }
        credit = kBufferSize - (static_cast<std::uint32_t>(sent.size()) - told);
        if (credit == 0) {
            return sent;
        }
        const std::string piece(std::min<std::uint32_t>(credit, VsockGuest::kSendMax), letter);
        guest.send({.ports = ports, .op = VsockOp::Rw, .buf_alloc = kPlenty}, piece);
        sent += piece;
    }
}

TEST_F(VsockDeviceTest, SlowClientLosesNothingAndHoldsUpNobody) {
    guest_->start();
    const Opened slow = open_from_host();
    const std::string sent = flood(*guest_, slow.ports);
    EXPECT_GT(sent.size(), kBufferSize);

    const Opened other = open_from_host();
    guest_->send(from_guest(VsockOp::Rw, other.ports), "on time");
    EXPECT_EQ(read_now(other.client.ref()), "on time");

    shut_down(abi::kVsockShutdownBoth, slow.ports);  // the guest need not wait for the client
    EXPECT_EQ(expect_message().op, VsockOp::Rst);
    std::string got;
    EXPECT_TRUE(run_until([&] {
        got += read_now(slow.client.ref());
        return is_at_end(slow.client.ref());
    }));
    EXPECT_TRUE(got == sent);
    EXPECT_EQ(device_->muxer().connections(), 1U);
}

TEST_F(VsockDeviceTest, CreditComesBackAsTheClientReads) {
    guest_->start();
    const Opened slow = open_from_host();
    const std::string sent = flood(*guest_, slow.ports);
    std::uint32_t told = 0;
    EXPECT_TRUE(run_until([&] {
        (void)read_now(slow.client.ref());
        while (const std::optional<VsockMessage> message = guest_->receive()) {
            told = message->fwd_cnt;
        }
        return sent.size() - told < kCreditStep;
    }));
}

TEST_F(VsockDeviceTest, MoreThanTheCreditEndsTheConnection) {
    guest_->start();
    const Opened slow = open_from_host();
    (void)flood(*guest_, slow.ports);
    // Less than a step may have been passed on without a word.
    guest_->send(from_guest(VsockOp::Rw, slow.ports), std::string(kCreditStep, '!'));
    EXPECT_EQ(expect_message().op, VsockOp::Rst);
    EXPECT_EQ(device_->muxer().connections(), 0U);
}

TEST_F(VsockDeviceTest, ClientThatNeverReadsAndGoesAwayFreesTheGuest) {
    guest_->start();
    Opened slow = open_from_host();
    (void)flood(*guest_, slow.ports);
    slow.client = Fd();
    const VsockMessage end = expect_message();
    EXPECT_EQ(end.op, VsockOp::Shutdown);
    EXPECT_NE(end.flags & abi::kVsockShutdownReceive, 0U);
    guest_->send(from_guest(VsockOp::Rw, slow.ports), "to nobody");
    (void)guest_->receive();
    guest_->send(from_guest(VsockOp::Rst, slow.ports));
    EXPECT_EQ(device_->muxer().connections(), 0U);
}

TEST_F(VsockDeviceTest, ClientIsReadOnlyWithinTheGuestsCredit) {
    guest_->start();
    const Opened opened = open_from_host(10);
    write_all(opened.client.ref(), "0123456789abcdef");
    EXPECT_EQ(expect_message().payload, "0123456789");
    EXPECT_EQ(expect_message().op, VsockOp::CreditRequest);
    EXPECT_TRUE(is_quiet());
    Packet update = from_guest(VsockOp::CreditUpdate, opened.ports);
    update.buf_alloc = 10;
    update.fwd_cnt = 4;
    guest_->send(update);
    EXPECT_EQ(expect_message().payload, "abcd");
}

TEST_F(VsockDeviceTest, NoCreditMeansNoBusyLoop) {
    guest_->start();
    const Opened opened = open_from_host(1);
    write_all(opened.client.ref(), "0123456789");
    EXPECT_EQ(expect_message().payload, "0");
    EXPECT_EQ(expect_message().op, VsockOp::CreditRequest);
    EXPECT_TRUE(loop_sleeps());
}

TEST_F(VsockDeviceTest, NoReceiveBufferMeansNoBusyLoop) {
    guest_->refills = false;
    guest_->start(1);
    const Opened opened = open_from_host();  // uses the only one
    write_all(opened.client.ref(), "0123456789");
    EXPECT_TRUE(loop_sleeps());
    guest_->refill();
    EXPECT_EQ(expect_message().payload, "0123456789");
}

TEST_F(VsockDeviceTest, HangUpWithoutCreditMeansNoBusyLoop) {
    guest_->start();
    Opened opened = open_from_host(1);
    write_all(opened.client.ref(), "0123456789");
    opened.client = Fd();
    EXPECT_TRUE(run_until([&] {
        const std::optional<VsockMessage> message = guest_->receive();
        return message && (message->flags & abi::kVsockShutdownReceive) != 0;
    }));
    EXPECT_TRUE(loop_sleeps());
}

TEST_F(VsockDeviceTest, FloodOfUnknownPacketsWaitsForReceiveBuffers) {
    guest_->refills = false;
    guest_->start(0);
    for (std::size_t i = 0; i < Muxer::kRefusalsMax + 10; ++i) {
        // The device leaves those that it cannot answer, until the queue is full.
        (void)guest_->send_raw(test::guest_header(from_guest(VsockOp::Rw, {.host = 1, .guest = 1})),
                               "");
    }
    EXPECT_TRUE(device_->muxer().is_congested());
    EXPECT_TRUE(loop_sleeps());
    device_->reset();
    EXPECT_FALSE(device_->muxer().is_congested());
}

TEST_F(VsockDeviceTest, ResetClosesConnectionsButDeliversWhatWasSent) {
    guest_->start();
    const Opened slow = open_from_host();
    const std::string sent = flood(*guest_, slow.ports);
    const Opened other = open_from_host();
    device_->reset();
    EXPECT_TRUE(is_at_end(other.client.ref()));
    std::string got;
    EXPECT_TRUE(run_until([&] {
        got += read_now(slow.client.ref());
        return is_at_end(slow.client.ref());
    }));
    EXPECT_TRUE(got == sent);
    EXPECT_EQ(device_->muxer().connections(), 0U);
}

TEST_F(VsockDeviceTest, StoppedQueuesGoOnWhereTheyWere) {
    guest_->start();
    const Opened opened = open_from_host();
    EXPECT_EQ(device_->stop_queue(abi::kVsockTxQueue), 1);
    EXPECT_EQ(device_->stop_queue(abi::kVsockTxQueue), 0);
    write_all(opened.client.ref(), "into the receive queue");
    EXPECT_EQ(expect_message().payload, "into the receive queue");
    EXPECT_EQ(device_->stop_queue(abi::kVsockRxQueue), 2);
}

TEST_F(VsockDeviceTest, OneInterruptServesManyPackets) {
    guest_->refills = false;
    guest_->start();
    const Opened opened = open_from_host();
    const int before = guest_->notifier.used[abi::kVsockRxQueue];
    write_all(opened.client.ref(), std::string(std::size_t{10} * VsockGuest::kPayloadMax, 'x'));
    std::size_t got = 0;
    EXPECT_TRUE(run_until([&] {
        while (const std::optional<VsockMessage> message = guest_->receive()) {
            got += message->payload.size();
        }
        return got == std::size_t{10} * VsockGuest::kPayloadMax;
    }));
    EXPECT_EQ(guest_->notifier.used[abi::kVsockRxQueue], before + 1);
}

}  // namespace
}  // namespace pepita::vmm::vsock
