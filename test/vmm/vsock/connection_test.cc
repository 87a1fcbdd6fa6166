#include "vmm/vsock/connection.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

#include "kernel-abi/uapi/virtio_vsock.h"
#include "vmm/vsock/packet.h"

namespace pepita::vmm::vsock {
namespace {

constexpr Ports kPorts{.host = 52, .guest = 1000};
constexpr std::uint32_t kGuestBuffer = 1000;

Packet from_guest(VsockOp op, std::uint32_t length = 0, std::uint32_t fwd_cnt = 0) {
    return {
        .ports = kPorts, .op = op, .length = length, .buf_alloc = kGuestBuffer, .fwd_cnt = fwd_cnt};
}

Packet shutdown_by_guest(std::uint32_t flags) {
    Packet packet = from_guest(VsockOp::Shutdown);
    packet.flags = flags;
    return packet;
}

VsockOp next_op(Connection& connection) {
    const std::optional<Packet> packet = connection.next_control();
    return packet ? packet->op : VsockOp::Invalid;
}

Connection open_connection() {
    Connection connection = Connection::from_guest(from_guest(VsockOp::Request));
    EXPECT_EQ(next_op(connection), VsockOp::Response);
    return connection;
}

TEST(VsockConnection, HostAsksAndTheGuestAnswers) {
    Connection connection = Connection::from_host(kPorts);
    EXPECT_TRUE(connection.is_unsent());
    EXPECT_FALSE(connection.awaits_guest());
    const Packet request = connection.next_control().value_or(Packet{});
    EXPECT_EQ(request.op, VsockOp::Request);
    EXPECT_EQ(request.buf_alloc, kBufferSize);
    EXPECT_TRUE(connection.awaits_guest());
    EXPECT_EQ(connection.room(), 0U);
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Response)), Event::Opened);
    EXPECT_EQ(connection.room(), kGuestBuffer);
    EXPECT_FALSE(connection.awaits_guest());
}

TEST(VsockConnection, RefusalEndsItWithoutAnAnswer) {
    Connection connection = Connection::from_host(kPorts);
    (void)connection.next_control();
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Rst)), Event::Over);
    EXPECT_TRUE(connection.is_over());
    EXPECT_FALSE(connection.has_control());
}

TEST(VsockConnection, NothingIsSentBeforeTheResponse) {
    Connection connection = Connection::from_guest(from_guest(VsockOp::Request));
    EXPECT_EQ(connection.room(), 0U);
    EXPECT_EQ(next_op(connection), VsockOp::Response);
    EXPECT_EQ(connection.room(), kGuestBuffer);
}

TEST(VsockConnection, SendsNoMoreThanTheGuestHasRoomFor) {
    Connection connection = open_connection();
    (void)connection.payload(kGuestBuffer - 1);
    EXPECT_EQ(connection.room(), 1U);
    (void)connection.payload(1);
    EXPECT_EQ(connection.room(), 0U);
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::CreditUpdate, 0, 600)), Event::Nothing);
    EXPECT_EQ(connection.room(), 600U);
}

TEST(VsockConnection, RunningDryAsksForCreditOnce) {
    Connection connection = open_connection();
    (void)connection.payload(kGuestBuffer);
    EXPECT_EQ(next_op(connection), VsockOp::CreditRequest);
    EXPECT_FALSE(connection.has_control());
    (void)connection.on_packet(from_guest(VsockOp::CreditUpdate, 0, kGuestBuffer));
    (void)connection.payload(kGuestBuffer);
    EXPECT_EQ(next_op(connection), VsockOp::CreditRequest);
}

TEST(VsockConnection, CreditCountersWrap) {
    Connection connection = open_connection();
    std::uint32_t sent = 0;
    for (int i = 0; i < 5; ++i) {  // five times 2^30 is beyond 2^32
        Packet update = from_guest(VsockOp::CreditUpdate, 0, sent);
        update.buf_alloc = 1U << 30U;
        (void)connection.on_packet(update);
        ASSERT_EQ(connection.room(), 1U << 30U);
        (void)connection.payload(1U << 30U);
        sent += 1U << 30U;
    }
}

TEST(VsockConnection, StaleOrLyingCountsGiveNoCredit) {
    Connection connection = open_connection();
    (void)connection.payload(800);
    (void)connection.on_packet(from_guest(VsockOp::CreditUpdate, 0, 500));
    EXPECT_EQ(connection.room(), kGuestBuffer - 300);
    (void)connection.on_packet(from_guest(VsockOp::CreditUpdate, 0, 400));  // overtaken on its way
    EXPECT_EQ(connection.room(), kGuestBuffer - 300);
    (void)connection.on_packet(from_guest(VsockOp::CreditUpdate, 0, 801));  // never sent that much
    EXPECT_EQ(connection.room(), kGuestBuffer - 300);
}

TEST(VsockConnection, AGuestThatShrinksItsBufferGetsNothingUntilItFits) {
    Connection connection = open_connection();
    (void)connection.payload(800);
    Packet update = from_guest(VsockOp::CreditUpdate);
    update.buf_alloc = 700;
    (void)connection.on_packet(update);
    EXPECT_EQ(connection.room(), 0U);
}

TEST(VsockConnection, CreditIsUpdatedBeforeTheGuestRunsDry) {
    Connection connection = open_connection();
    ASSERT_EQ(connection.on_packet(from_guest(VsockOp::Rw, kCreditStep)), Event::Payload);
    connection.forwarded(kCreditStep - 1);
    EXPECT_FALSE(connection.has_control());
    connection.forwarded(1);
    const Packet update = connection.next_control().value_or(Packet{});
    EXPECT_EQ(update.op, VsockOp::CreditUpdate);
    EXPECT_EQ(update.fwd_cnt, kCreditStep);
    EXPECT_FALSE(connection.has_control());
}

TEST(VsockConnection, ACreditRequestIsAnswered) {
    Connection connection = open_connection();
    (void)connection.on_packet(from_guest(VsockOp::CreditRequest));
    EXPECT_EQ(next_op(connection), VsockOp::CreditUpdate);
}

TEST(VsockConnection, PayloadCarriesTheCreditToo) {
    Connection connection = open_connection();
    (void)connection.on_packet(from_guest(VsockOp::Rw, kCreditStep));
    connection.forwarded(kCreditStep);
    EXPECT_EQ(connection.payload(5).fwd_cnt, kCreditStep);
    EXPECT_FALSE(connection.has_control());
}

TEST(VsockConnection, AGuestMayFillItsCreditAndNotOneByteMore) {
    Connection connection = open_connection();
    ASSERT_EQ(connection.on_packet(from_guest(VsockOp::Rw, kBufferSize)), Event::Payload);
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Rw, 1)), Event::Violation);
    EXPECT_EQ(next_op(connection), VsockOp::Rst);
    EXPECT_TRUE(connection.is_over());
}

TEST(VsockConnection, HalfCloseByTheGuestLeavesTheOtherDirection) {
    Connection connection = open_connection();
    EXPECT_EQ(connection.on_packet(shutdown_by_guest(abi::kVsockShutdownSend)), Event::Shutdown);
    EXPECT_FALSE(connection.guest_sends());
    EXPECT_TRUE(connection.guest_receives());
    EXPECT_EQ(connection.room(), kGuestBuffer);
    EXPECT_FALSE(connection.has_control());
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Rw, 1)), Event::Violation);
}

TEST(VsockConnection, GuestsShutdownFlagsAddUpToAnEnd) {
    Connection connection = open_connection();
    (void)connection.on_packet(shutdown_by_guest(abi::kVsockShutdownReceive));
    EXPECT_EQ(connection.room(), 0U);
    (void)connection.on_packet(shutdown_by_guest(abi::kVsockShutdownSend));
    EXPECT_EQ(next_op(connection), VsockOp::Rst);
    EXPECT_TRUE(connection.is_over());
}

TEST(VsockConnection, HalfCloseByTheClientLeavesTheOtherDirection) {
    Connection connection = open_connection();
    connection.stop_sending();
    const Packet said = connection.next_control().value_or(Packet{});
    EXPECT_EQ(said.op, VsockOp::Shutdown);
    EXPECT_EQ(said.flags, abi::kVsockShutdownSend);
    EXPECT_EQ(connection.room(), 0U);
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Rw, 10)), Event::Payload);
    EXPECT_FALSE(connection.awaits_guest());
}

TEST(VsockConnection, OurShutdownFlagsAddUpAndThenTheGuestOwesAReset) {
    Connection connection = open_connection();
    connection.stop_sending();
    (void)connection.next_control();
    connection.stop_receiving();
    EXPECT_EQ(connection.next_control().value_or(Packet{}).flags, abi::kVsockShutdownBoth);
    EXPECT_TRUE(connection.awaits_guest());
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Rst)), Event::Over);
}

TEST(VsockConnection, PayloadForAClientThatLeftCountsAsPassedOn) {
    Connection connection = open_connection();
    connection.stop_receiving();
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Rw, kBufferSize)), Event::Discard);
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Rw, kBufferSize)), Event::Discard);
}

TEST(VsockConnection, AClientThatLeavesBeforeTheRequestIsSentLeavesNothing) {
    Connection connection = Connection::from_host(kPorts);
    connection.fail();
    EXPECT_TRUE(connection.is_over());
    EXPECT_FALSE(connection.has_control());
}

TEST(VsockConnection, ASecondRequestOnTheSamePortsEndsIt) {
    Connection connection = open_connection();
    EXPECT_EQ(connection.on_packet(from_guest(VsockOp::Request)), Event::Violation);
    EXPECT_EQ(next_op(connection), VsockOp::Rst);
}

TEST(VsockConnection, AnswersToNoQuestionEndIt) {
    Connection asked = Connection::from_host(kPorts);
    EXPECT_EQ(asked.on_packet(from_guest(VsockOp::Response)), Event::Violation);
    EXPECT_TRUE(asked.is_over());
    Connection asking = Connection::from_host(kPorts);
    (void)asking.next_control();
    EXPECT_EQ(asking.on_packet(from_guest(VsockOp::Rw, 1)), Event::Violation);
    EXPECT_EQ(next_op(asking), VsockOp::Rst);
}

}  // namespace
}  // namespace pepita::vmm::vsock
