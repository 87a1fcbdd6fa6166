#pragma once

#include <cstdint>
#include <optional>

#include "vmm/vsock/packet.h"

namespace pepita::vmm::vsock {

/// How many bytes a guest may have under way to one host client; what we advertise as buf_alloc.
inline constexpr std::uint32_t kBufferSize = 256U << 10U;
/// Once this much was passed on unsaid, we say so: the guest never runs dry while the client reads.
inline constexpr std::uint32_t kCreditStep = kBufferSize / 4;

/// What a packet of the guest's means to whoever holds the connection.
enum class Event : std::uint8_t {
    Nothing,
    Opened,    // the guest took our request
    Payload,   // `length` bytes for the client; answered by forwarded() when they are out
    Discard,   // payload that nobody wants any more; it counts as passed on already
    Shutdown,  // the guest ended one or both directions
    Over,      // the guest knows of no such connection any more
    Violation  // the guest broke the protocol: a RST stands ready, and the client is cut off
};

/// One stream connection as virtio 1.2 §5.10.6 has it: who may still send, how much, and what has
/// to be said. Pure: no descriptor, no clock, no bytes of payload.
///
/// Counters are u32 and wrap, as the protocol's do.
class Connection {
public:
    /// A host client asks the guest.
    static Connection from_host(Ports ports);
    /// The guest asked, and a host client was found.
    static Connection from_guest(const Packet& request);

    const Ports& ports() const { return ports_; }

    Event on_packet(const Packet& packet);

    /// What must be said to the guest, most urgent first; calling it says it.
    std::optional<Packet> next_control();
    bool has_control() const;

    /// How many payload bytes the guest has room for now; 0 while or after nothing may be sent.
    std::uint32_t room() const;
    /// The header for `length` payload bytes, at most room().
    Packet payload(std::uint32_t length);

    /// `length` bytes of the guest's reached the client, or were given up.
    void forwarded(std::uint32_t length);
    /// The client sends no more.
    void stop_sending();
    /// The client takes no more.
    void stop_receiving();
    /// Ends it from our side: RST, if the guest knows of it at all.
    void fail();
    /// Ends it without a word: the driver is gone, or the guest said so.
    void end();

    /// The guest has not answered the request.
    bool is_opening() const { return phase_ == Phase::Opening; }
    /// The request has not even been put on the ring.
    bool is_unsent() const { return phase_ == Phase::Opening && says_request_; }
    /// Neither side will say anything more: the ports are free.
    bool is_over() const { return phase_ == Phase::Over; }
    /// The guest owes us an answer: to our request, or to our end of both directions.
    bool awaits_guest() const;
    bool guest_sends() const { return phase_ == Phase::Open && !guest_stopped_sending_; }
    bool guest_receives() const { return phase_ == Phase::Open && !guest_stopped_receiving_; }

private:
    enum class Phase : std::uint8_t { Opening, Open, Resetting, Over };

    Connection(Ports ports, Phase phase) : ports_(ports), phase_(phase) {}
    void take_credit(const Packet& packet);
    Event violation();
    Event on_open(const Packet& packet);
    Event on_data(const Packet& packet);
    Event on_shutdown(std::uint32_t flags);
    std::uint32_t shutdown_flags() const;
    bool owes_credit_update() const;
    Packet stamped(VsockOp op);

    Ports ports_;
    Phase phase_;

    // Towards the guest.
    std::uint32_t guest_buffer_ = 0;     // its buf_alloc
    std::uint32_t guest_forwarded_ = 0;  // its fwd_cnt
    std::uint32_t sent_ = 0;

    // From the guest.
    std::uint32_t received_ = 0;
    std::uint32_t forwarded_ = 0;
    std::uint32_t told_forwarded_ = 0;  // forwarded_, as the guest knows it

    bool guest_stopped_sending_ = false;
    bool guest_stopped_receiving_ = false;
    bool client_stopped_sending_ = false;
    bool client_stopped_receiving_ = false;
    std::uint32_t told_shutdown_ = 0;

    bool says_request_ = false;
    bool says_response_ = false;
    bool says_credit_ = false;  // the guest asked for it
    bool asks_credit_ = false;
    bool credit_asked_ = false;  // once for each time we run dry
};

}  // namespace pepita::vmm::vsock
