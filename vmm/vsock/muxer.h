#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/vsock/handshake.h"
#include "vmm/vsock/link.h"
#include "vmm/vsock/packet.h"
#include "vmm/vsock/rx_writer.h"

namespace pepita::vmm::vsock {

struct Options {
    std::uint64_t guest_cid = 3;
    /// A guest that connects to host port N reaches the unix socket "<guest_prefix>_N".
    std::string guest_prefix;
    std::size_t connections_max = 1023;
    /// Clients that have not said yet what they want. One more, and the oldest has to go: three
    /// streams of each process that a guest may have.
    std::size_t handshakes_max = 768;
    /// Requests that no receive buffer was there for: the driver is not up yet, or has no more.
    std::size_t unsent_max = 768;
    /// How long the guest may take to answer a request, or our end of a connection.
    std::chrono::milliseconds answer_timeout{2000};
};

/// All connections of one guest, and the unix sockets at their host ends (Firecracker's protocol).
///
/// Thread: the loop's.
class Muxer {
public:
    using OnOutput = std::move_only_function<void()>;

    /// `listener` is a non-blocking listening unix socket. `on_output` is called when there is
    /// something to put into receive buffers: fill() when there are any.
    static Result<std::unique_ptr<Muxer>> create(EventLoop& loop, Fd listener, Options options,
                                                 OnOutput on_output);
    Muxer(const Muxer&) = delete;
    Muxer& operator=(const Muxer&) = delete;
    Muxer(Muxer&&) = delete;
    Muxer& operator=(Muxer&&) = delete;
    ~Muxer() = default;

    /// A chain of the transmit queue: a header and its payload.
    void take(virtio::Chain& chain);
    /// Too many answers wait for receive buffers: leave the transmit queue alone until fill().
    bool is_congested() const { return refusals_.size() >= kRefusalsMax; }

    bool has_output() const { return !refusals_.empty() || !line_.empty(); }
    /// Puts what there is to say into the receive queue, until it is dry or `budget` buffers are
    /// used. True where budget was what ended it.
    bool fill(virtio::Ring& ring, std::size_t budget);

    /// The driver is gone, and with it all that it knew. Requests that it has not seen wait for its
    /// successor, and what it sent still reaches the clients.
    void driver_gone();

    std::size_t connections() const { return links_.size(); }
    std::size_t handshakes() const { return greeters_.size(); }

    static constexpr std::size_t kRefusalsMax = 256;

private:
    struct Greeter {
        Fd socket;
        Handshake line;
        EventLoop::Watch watch;
    };

    Muxer(EventLoop& loop, Options options, OnOutput on_output);

    // muxer_clients.cc: the host's side.
    void greet(Fd socket);
    void on_greeter(std::uint64_t id);
    void connect_to_guest(Fd socket, std::uint32_t guest_port);
    void on_client(LinkId id, std::uint32_t events);
    static void lose_client(Link& link);
    std::uint32_t pick_host_port(std::uint32_t guest_port);
    std::size_t unsent_requests() const;

    // muxer.cc: the guest's side.
    Link* find(const Ports& ports);
    void refuse(const Packet& packet);
    void take_request(const Packet& packet);
    static void deliver(Link& link, std::uint32_t length, virtio::Chain& chain);
    static void on_event(Link& link, Event event, const Packet& packet, virtio::Chain& chain);
    static void turn(Link& link, RxWriter& writer);
    void on_timeout(LinkId id);

    // Bookkeeping.
    Link* add(const Connection& connection, Fd socket);
    void stand_in_line(Link& link);
    /// Brings everything that hangs on the link's state up to date; the link may be gone after it.
    void settle(Link& link);
    static void watch_client(Link& link);
    void remove(Link& link);

    EventLoop& loop_;
    Options options_;
    OnOutput on_output_;
    std::unique_ptr<Listener> listener_;

    std::map<std::uint64_t, Greeter> greeters_;  // by age
    std::uint64_t next_id_ = 1;
    std::unordered_map<LinkId, std::unique_ptr<Link>> links_;
    std::map<std::pair<std::uint32_t, std::uint32_t>, LinkId> by_ports_;  // host, guest
    std::uint32_t next_host_port_ = 0;

    std::deque<LinkId> line_;      // links with something to say; some may be gone
    std::deque<Packet> refusals_;  // answers to packets of no connection
};

}  // namespace pepita::vmm::vsock
