#include "vmm/vsock/connection.h"

#include <cstdint>
#include <optional>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "vmm/vsock/packet.h"

namespace pepita::vmm::vsock {

Connection Connection::from_host(Ports ports) {
    Connection connection(ports, Phase::Opening);
    connection.says_request_ = true;
    return connection;
}

Connection Connection::from_guest(const Packet& request) {
    Connection connection(request.ports, Phase::Open);
    connection.take_credit(request);
    connection.says_response_ = true;
    return connection;
}

void Connection::take_credit(const Packet& packet) {
    guest_buffer_ = packet.buf_alloc;
    // Linux fills in fwd_cnt before it queues a packet, so an older count may overtake a newer one;
    // and a guest may lie. Either way a count is believed only where it lies between what we knew
    // and what we sent.
    if (sent_ - packet.fwd_cnt <= sent_ - guest_forwarded_) {
        guest_forwarded_ = packet.fwd_cnt;
    }
    if (room() > 0) {
        credit_asked_ = false;
        asks_credit_ = false;
    }
}

Event Connection::on_packet(const Packet& packet) {
    if (phase_ == Phase::Over || phase_ == Phase::Resetting) {
        if (packet.op == VsockOp::Rst) {
            phase_ = Phase::Over;
        }
        return Event::Nothing;  // it crossed our RST
    }
    if (packet.op == VsockOp::Rst) {
        phase_ = Phase::Over;
        return Event::Over;
    }
    if (is_unsent()) {
        return violation();  // it cannot know the port
    }
    take_credit(packet);
    if (phase_ == Phase::Opening) {
        if (packet.op != VsockOp::Response) {
            return violation();
        }
        phase_ = Phase::Open;
        return Event::Opened;
    }
    return on_open(packet);
}

Event Connection::on_open(const Packet& packet) {
    switch (packet.op) {
        case VsockOp::Rw:
            return on_data(packet);
        case VsockOp::Shutdown:
            return on_shutdown(packet.flags);
        case VsockOp::CreditRequest:
            says_credit_ = true;
            return Event::Nothing;
        case VsockOp::CreditUpdate:
            return Event::Nothing;
        case VsockOp::Request:   // its side of this connection is gone, or it never had one
        case VsockOp::Response:  // to what?
        case VsockOp::Rst:
        case VsockOp::Invalid:
            break;
    }
    return violation();
}

Event Connection::on_data(const Packet& packet) {
    // Held against what is truly free, which is never less than what the guest was told.
    if (says_response_ || guest_stopped_sending_ ||
        packet.length > kBufferSize - (received_ - forwarded_)) {
        return violation();
    }
    received_ += packet.length;
    if (client_stopped_receiving_) {
        forwarded(packet.length);
        return Event::Discard;
    }
    return packet.length == 0 ? Event::Nothing : Event::Payload;
}

Event Connection::on_shutdown(std::uint32_t flags) {
    guest_stopped_sending_ = guest_stopped_sending_ || (flags & abi::kVsockShutdownSend) != 0;
    guest_stopped_receiving_ =
        guest_stopped_receiving_ || (flags & abi::kVsockShutdownReceive) != 0;
    if (guest_stopped_sending_ && guest_stopped_receiving_) {
        // §5.10.6.5: a RST confirms the end. What the guest sent before it is all here, so the
        // guest need not wait until a slow client has read it.
        phase_ = Phase::Resetting;
    }
    return Event::Shutdown;
}

Event Connection::violation() {
    fail();
    return Event::Violation;
}

std::optional<Packet> Connection::next_control() {
    if (phase_ == Phase::Resetting) {
        phase_ = Phase::Over;
        return stamped(VsockOp::Rst);
    }
    if (phase_ == Phase::Opening && says_request_) {
        says_request_ = false;
        return stamped(VsockOp::Request);
    }
    if (phase_ != Phase::Open) {
        return std::nullopt;
    }
    if (says_response_) {
        says_response_ = false;
        return stamped(VsockOp::Response);
    }
    if (const std::uint32_t flags = shutdown_flags(); flags != told_shutdown_) {
        told_shutdown_ = flags;
        Packet packet = stamped(VsockOp::Shutdown);
        packet.flags = flags;
        return packet;
    }
    if (says_credit_ || owes_credit_update()) {
        return stamped(VsockOp::CreditUpdate);
    }
    if (asks_credit_) {
        asks_credit_ = false;
        return stamped(VsockOp::CreditRequest);
    }
    return std::nullopt;
}

bool Connection::has_control() const {
    if (phase_ == Phase::Resetting) {
        return true;
    }
    if (phase_ == Phase::Opening) {
        return says_request_;
    }
    return phase_ == Phase::Open && (says_response_ || shutdown_flags() != told_shutdown_ ||
                                     says_credit_ || asks_credit_ || owes_credit_update());
}

std::uint32_t Connection::shutdown_flags() const {
    return (client_stopped_sending_ ? abi::kVsockShutdownSend : 0U) |
           (client_stopped_receiving_ ? abi::kVsockShutdownReceive : 0U);
}

bool Connection::owes_credit_update() const {
    return !guest_stopped_sending_ && forwarded_ - told_forwarded_ >= kCreditStep;
}

std::uint32_t Connection::room() const {
    if (phase_ != Phase::Open || says_response_ || guest_stopped_receiving_ ||
        client_stopped_sending_) {
        return 0;
    }
    const std::uint32_t under_way = sent_ - guest_forwarded_;
    // A guest may shrink its buffer below what is under way.
    return under_way < guest_buffer_ ? guest_buffer_ - under_way : 0;
}

Packet Connection::payload(std::uint32_t length) {
    CHECK(length <= room());
    sent_ += length;
    if (room() == 0 && !credit_asked_) {
        credit_asked_ = true;
        asks_credit_ = true;
    }
    Packet packet = stamped(VsockOp::Rw);
    packet.length = length;
    return packet;
}

void Connection::forwarded(std::uint32_t length) {
    CHECK(length <= received_ - forwarded_);
    forwarded_ += length;
}

void Connection::stop_sending() { client_stopped_sending_ = true; }

void Connection::stop_receiving() { client_stopped_receiving_ = true; }

void Connection::fail() {
    phase_ = is_unsent() || phase_ == Phase::Over ? Phase::Over : Phase::Resetting;
}

void Connection::end() { phase_ = Phase::Over; }

bool Connection::awaits_guest() const {
    return (phase_ == Phase::Opening && !says_request_) ||
           (phase_ == Phase::Open && told_shutdown_ == abi::kVsockShutdownBoth);
}

Packet Connection::stamped(VsockOp op) {
    told_forwarded_ = forwarded_;
    says_credit_ = false;  // every header carries it
    return {.ports = ports_, .op = op, .buf_alloc = kBufferSize, .fwd_cnt = forwarded_};
}

}  // namespace pepita::vmm::vsock
