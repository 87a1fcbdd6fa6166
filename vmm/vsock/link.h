#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "vmm/vsock/client.h"
#include "vmm/vsock/connection.h"

namespace pepita::vmm::vsock {

enum class LinkId : std::uint64_t {};

/// A connection and the client at its host end.
struct Link {
    Link(LinkId id_given, Connection connection_given, Fd socket)
        : id(id_given), connection(connection_given), client(std::move(socket)) {}

    LinkId id;
    Connection connection;
    Client client;

    EventLoop::Watch watch;
    std::uint32_t watched = 0;  // the events that `watch` waits for
    EventLoop::Timer deadline;  // for an answer of the guest's
    bool has_deadline = false;

    bool readable = false;    // the client has bytes, or its end, for us
    bool read_ended = false;  // and it is over
    bool hung_up = false;     // the client closed its end, or both directions are shut
    bool queued = false;      // stands in line for receive buffers

    /// Bytes of the client's could go to the guest now.
    bool can_read() const { return !read_ended && connection.room() > 0; }
    bool has_output() const { return connection.has_control() || (readable && can_read()); }
    /// The guest is through with it; the client may have bytes to come.
    bool is_done() const {
        return connection.is_over() && (client.is_deaf() || !client.has_unsent());
    }
};

}  // namespace pepita::vmm::vsock
