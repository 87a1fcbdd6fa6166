#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "cri/streaming.h"
#include "cri/streaming/http_server.h"

namespace pepita::cri {

enum class Transport : std::uint8_t {
    Spdy,
    Channels,  // WebSocket, one channel per stream
    Tunnel,    // SPDY within WebSocket
};

/// What client and server agreed on, and the headers of the 101 that says so.
struct Agreement {
    Transport transport = Transport::Spdy;
    unsigned version = 1;  // of the remote command sub-protocol, 1 to 5
    HttpHeaders headers;
};

/// Agreement, or the reply that refuses.
std::variant<Agreement, HttpReply> agree(const HttpRequest& http, const StreamRequest& request);

/// RFC 6455 §4.2.2: base64(SHA-1(key + GUID)).
std::string websocket_accept(std::string_view key);

}  // namespace pepita::cri
