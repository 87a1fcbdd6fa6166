#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/relay.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest/stream_server.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime::guest {

/// Connections that the host asked for to ports of this guest's loopback (port-forward): each is
/// joined with the stream that the host then connects. Nothing here waits. Thread: that of the
/// loop.
class PortDialer {
public:
    static constexpr std::size_t kConnectionsMax = 256;

    PortDialer(EventLoop& loop, StreamServer& server) : loop_(loop), server_(server) {}
    PortDialer(const PortDialer&) = delete;
    PortDialer& operator=(const PortDialer&) = delete;
    PortDialer(PortDialer&&) = delete;
    PortDialer& operator=(PortDialer&&) = delete;
    ~PortDialer();

    /// Connects to `port` of 127.0.0.1, and where that fails of ::1. Gives the number of the
    /// stream. Errors: why 127.0.0.1 refused.
    void dial(std::uint16_t port, OnResult<std::uint64_t> done);

private:
    struct Connection {
        std::uint16_t port = 0;
        OnResult<std::uint64_t> done;  // until it is answered
        std::optional<Error> refused;  // by 127.0.0.1: ::1 is being tried
        Fd socket;
        EventLoop::Watch watch;
        EventLoop::Timer deadline;  // of the connection, then of the host's coming for it
        std::uint64_t number = 0;   // of its stream, until the host has come
        std::unique_ptr<Relay> relay;
    };
    using Place = std::list<Connection>::iterator;

    void connect(Place place, int family);
    void on_writable(Place place);
    void refuse(Place place, Error why);
    void on_connected(Place place);
    void join(Place place, Fd stream);
    void end(Place place);

    EventLoop& loop_;
    StreamServer& server_;
    std::list<Connection> connections_;
};

}  // namespace pepita::runtime::guest
