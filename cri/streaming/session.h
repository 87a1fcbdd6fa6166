#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "cri/streaming/framing.h"

namespace pepita::cri {

/// What a session may do to its connection.
class Wire {
public:
    Wire() = default;
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;
    Wire(Wire&&) = delete;
    Wire& operator=(Wire&&) = delete;
    virtual ~Wire() = default;

    virtual void accept(StreamId id) = 0;
    virtual void send(StreamId id, std::span<const std::byte> bytes) = 0;
    virtual void finish(StreamId id) = 0;
    virtual void reset(StreamId id) = 0;
    /// Whether the client keeps up. Session::on_room() follows once it does again.
    virtual bool has_room() const = 0;
    /// can_take() may have changed.
    virtual void update() = 0;
    /// Nothing more comes of this session: send what is queued, then close.
    virtual void end() = 0;
};

/// What a connection is for: a process, or ports.
class Session : public StreamEvents {
public:
    /// Whether to read from the client.
    virtual bool can_take() const = 0;
    virtual void on_room() = 0;
};

inline std::span<const std::byte> as_wire_bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
}

}  // namespace pepita::cri
