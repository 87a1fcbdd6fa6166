#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "vmm/vsock/connection.h"
#include "vmm/vsock/handshake.h"
#include "vmm/vsock/link.h"
#include "vmm/vsock/muxer.h"
#include "vmm/vsock/packet.h"

// The host's side: who connects to the unix socket, and what its clients do.

namespace pepita::vmm::vsock {
namespace {

/// Ports of host clients begin at 2^30, as Firecracker's do.
constexpr std::uint32_t kHostPortFirst = 1U << 30U;

}  // namespace

void Muxer::greet(Fd socket) {
    if (greeters_.size() >= options_.handshakes_max) {
        // No deadline instead: someone may type the line by hand.
        greeters_.erase(greeters_.begin());
    }
    const std::uint64_t id = next_id_++;
    Result<EventLoop::Watch> watch =
        loop_.watch(socket.ref(), EPOLLIN, [this, id](std::uint32_t) { on_greeter(id); });
    if (watch) {
        greeters_.emplace(
            id, Greeter{.socket = std::move(socket), .line = {}, .watch = std::move(*watch)});
    }
}

void Muxer::on_greeter(std::uint64_t id) {
    const auto found = greeters_.find(id);
    Greeter& greeter = found->second;
    const int socket = greeter.socket.ref().number();
    std::array<std::byte, Handshake::kLineMax> bytes{};
    // Looked at first: what follows the line is the guest's, and stays in the socket.
    const ssize_t seen = ::recv(socket, bytes.data(), greeter.line.room(), MSG_PEEK | MSG_DONTWAIT);
    if (seen < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (seen <= 0) {
        greeters_.erase(found);
        return;
    }
    const std::size_t taken =
        greeter.line.take(std::span(bytes).first(static_cast<std::size_t>(seen)));
    if (::recv(socket, bytes.data(), taken, MSG_DONTWAIT) != static_cast<ssize_t>(taken)) {
        greeters_.erase(found);
        return;
    }
    if (!greeter.line.is_complete()) {
        return;
    }
    const std::optional<std::uint32_t> port = greeter.line.port();
    greeter.watch.cancel();
    Fd client = std::move(greeter.socket);
    greeters_.erase(found);
    if (port) {
        connect_to_guest(std::move(client), *port);
    }
}

std::size_t Muxer::unsent_requests() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        links_, [](const auto& entry) { return entry.second->connection.is_unsent(); }));
}

void Muxer::connect_to_guest(Fd socket, std::uint32_t guest_port) {
    if (links_.size() >= options_.connections_max || unsent_requests() >= options_.unsent_max) {
        return;
    }
    const Ports ports{.host = pick_host_port(guest_port), .guest = guest_port};
    Link* link = add(Connection::from_host(ports), std::move(socket));
    if (link == nullptr) {
        return;
    }
    settle(*link);
    on_output_();
}

std::uint32_t Muxer::pick_host_port(std::uint32_t guest_port) {
    // Ends: there are more ports than connections.
    for (;;) {
        const std::uint32_t port = kHostPortFirst | (next_host_port_++ & (kHostPortFirst - 1));
        if (!by_ports_.contains({port, guest_port})) {
            return port;
        }
    }
}

void Muxer::on_client(LinkId id, std::uint32_t events) {
    Link& link = *links_.at(id);
    if ((events & EPOLLOUT) != 0) {
        link.connection.forwarded(link.client.flush());
    }
    if ((events & EPOLLIN) != 0 && !link.read_ended) {
        link.readable = true;
    }
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        link.hung_up = true;
        link.readable = !link.read_ended;
    }
    if (link.hung_up || link.client.is_deaf()) {
        lose_client(link);
    }
    if (link.has_output()) {
        stand_in_line(link);
    }
    // Before the interest is settled: most often this reads the client dry, and nothing changes.
    if (has_output()) {
        on_output_();
    }
    if (const auto found = links_.find(id); found != links_.end()) {
        settle(*found->second);
    }
}

void Muxer::lose_client(Link& link) {
    link.connection.forwarded(link.client.give_up());
    link.connection.stop_receiving();
    if (link.connection.is_opening() && link.hung_up) {
        link.connection.fail();
    }
}

}  // namespace pepita::vmm::vsock
