#include "runtime/guest/port_dialer.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/relay.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest/stream_server.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime::guest {
namespace {

// A listener whose backlog is full drops what comes, and the kernel tries again for minutes.
constexpr std::chrono::seconds kConnectDeadline{10};
// The host connects at once.
constexpr std::chrono::seconds kStreamDeadline{30};

/// 0, or errno; EINPROGRESS where the answer comes later.
int begin_connect(FdRef socket, int family, std::uint16_t port) {
    sockaddr_in ip4{};
    ip4.sin_family = AF_INET;
    ip4.sin_port = htons(port);
    ip4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 ip6{};
    ip6.sin6_family = AF_INET6;
    ip6.sin6_port = htons(port);
    ip6.sin6_addr = in6addr_loopback;
    // SAFETY: sockaddr is the head that every socket address shares (POSIX <sys/socket.h>).
    const auto* address = family == AF_INET ? reinterpret_cast<const sockaddr*>(&ip4)
                                            : reinterpret_cast<const sockaddr*>(&ip6);
    const socklen_t size = family == AF_INET ? sizeof(ip4) : sizeof(ip6);
    return ::connect(socket.number(), address, size) == 0 ? 0 : errno;
}

int pending_error(FdRef socket) {
    int error = 0;
    socklen_t size = sizeof(error);
    return ::getsockopt(socket.number(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

PortDialer::~PortDialer() {
    for (const Connection& connection : connections_) {
        server_.forget(connection.number);
    }
}

void PortDialer::dial(std::uint16_t port, OnResult<std::uint64_t> done) {
    if (connections_.size() == kConnectionsMax) {
        return done(Error(
            Code::ResourceExhausted,
            "a guest has at most " + std::to_string(kConnectionsMax) + " forwarded connections"));
    }
    const Place place = connections_.emplace(connections_.end());
    place->port = port;
    place->done = std::move(done);
    connect(place, AF_INET);
}

void PortDialer::connect(Place place, int family) {
    place->watch.cancel();
    place->socket = Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!place->socket) {
        return refuse(place, Error::from_errno(errno, "socket"));
    }
    const int error = begin_connect(place->socket.ref(), family, place->port);
    if (error == 0) {
        return on_connected(place);
    }
    if (error != EINPROGRESS) {
        return refuse(place, Error::from_errno(error, "connect"));
    }
    auto watch = loop_.watch(place->socket.ref(), EPOLLOUT,
                             [this, place](std::uint32_t) { on_writable(place); });
    if (!watch) {
        return refuse(place, std::move(watch).error());
    }
    place->watch = *std::move(watch);
    place->deadline = loop_.after(kConnectDeadline, [this, place] {
        refuse(place, Error::from_errno(ETIMEDOUT, "connect"));
    });
}

void PortDialer::on_writable(Place place) {
    if (const int error = pending_error(place->socket.ref()); error != 0) {
        return refuse(place, Error::from_errno(error, "connect"));
    }
    on_connected(place);
}

void PortDialer::refuse(Place place, Error why) {
    place->watch.cancel();
    place->deadline.cancel();
    place->socket = Fd();
    std::optional<Error>& first = place->refused;
    if (!first) {
        first.emplace(std::move(why));
        return connect(place, AF_INET6);
    }
    // A machine without IPv6 would name that as the reason.
    Error refused = std::move(*first).within("port " + std::to_string(place->port));
    auto done = std::move(place->done);
    connections_.erase(place);
    done(std::move(refused));
}

void PortDialer::on_connected(Place place) {
    place->watch.cancel();
    auto done = std::move(place->done);
    Result<std::uint64_t> number =
        server_.expect([this, place](Fd stream) { join(place, std::move(stream)); });
    if (!number) {
        connections_.erase(place);
        return done(std::move(number));
    }
    place->number = *number;
    place->deadline = loop_.after(kStreamDeadline, [this, place] { end(place); });
    done(*number);
}

void PortDialer::join(Place place, Fd stream) {
    place->deadline.cancel();
    place->number = 0;
    auto relay = Relay::create(loop_, std::move(stream), std::move(place->socket),
                               [this, place] { end(place); });
    if (!relay) {
        log::warn("a forwarded port could not be connected",
                  {{"port", place->port}, {"error", relay.error().message()}});
        return end(place);
    }
    place->relay = *std::move(relay);
}

void PortDialer::end(Place place) {
    server_.forget(place->number);
    connections_.erase(place);
}

}  // namespace pepita::runtime::guest
