#include "cri/streaming/handshake.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cri/base64.h"
#include "cri/streaming.h"
#include "cri/streaming/http_server.h"
#include "cri/streaming/same_name.h"
#include "kernel-abi/sys/check.h"

namespace pepita::cri {
namespace {

struct Protocol {
    std::string_view name;
    Transport transport;
    unsigned version;
};

constexpr auto kSpdyCommand = std::to_array<Protocol>({
    {.name = "v4.channel.k8s.io", .transport = Transport::Spdy, .version = 4},
    {.name = "v3.channel.k8s.io", .transport = Transport::Spdy, .version = 3},
    {.name = "v2.channel.k8s.io", .transport = Transport::Spdy, .version = 2},
    {.name = "channel.k8s.io", .transport = Transport::Spdy, .version = 1},
});
constexpr auto kSpdyForward = std::to_array<Protocol>({
    {.name = "portforward.k8s.io", .transport = Transport::Spdy, .version = 1},
});
constexpr auto kSocketCommand = std::to_array<Protocol>({
    {.name = "v5.channel.k8s.io", .transport = Transport::Channels, .version = 5},
    {.name = "v4.channel.k8s.io", .transport = Transport::Channels, .version = 4},
});
constexpr auto kSocketForward = std::to_array<Protocol>({
    {.name = "SPDY/3.1+portforward.k8s.io", .transport = Transport::Tunnel, .version = 1},
    {.name = "v4.channel.k8s.io", .transport = Transport::Channels, .version = 4},
});

// The client's order is its preference.
const Protocol* choose(const std::vector<std::string_view>& offered,
                       std::span<const Protocol> known) {
    for (const std::string_view name : offered) {
        const auto found = std::ranges::find(known, name, &Protocol::name);
        if (found != known.end()) {
            return &*found;
        }
    }
    return nullptr;
}

HttpReply refusal(unsigned status, const std::string& body, HttpHeaders headers = {}) {
    return {
        .status = status, .headers = std::move(headers), .body = body + "\n", .on_upgraded = {}};
}

HttpReply no_protocol(std::span<const Protocol> known, const std::string& header) {
    HttpHeaders headers;
    for (const Protocol& one : known) {
        headers.emplace_back(header, one.name);
    }
    return refusal(403, "none of the offered protocols is supported", std::move(headers));
}

std::variant<Agreement, HttpReply> agree_on_spdy(const HttpRequest& http,
                                                 std::span<const Protocol> known) {
    const std::vector<std::string_view> offered = http.values("X-Stream-Protocol-Version");
    const Protocol* chosen = choose(offered, known);
    if (chosen == nullptr && !offered.empty()) {
        return no_protocol(known, "X-Accepted-Stream-Protocol-Versions");
    }
    Agreement agreement{.transport = Transport::Spdy, .version = 1, .headers = {}};
    agreement.headers.emplace_back("Upgrade", "SPDY/3.1");
    if (chosen != nullptr) {  // clients of Kubernetes 1.0 offer none
        agreement.version = chosen->version;
        agreement.headers.emplace_back("X-Stream-Protocol-Version", chosen->name);
    }
    return agreement;
}

std::variant<Agreement, HttpReply> agree_on_websocket(const HttpRequest& http,
                                                      std::span<const Protocol> known) {
    const std::string_view key = http.value("Sec-WebSocket-Key");
    if (key.size() != 24) {  // base64 of 16 bytes
        return refusal(400, "Sec-WebSocket-Key is missing or malformed");
    }
    if (http.value("Sec-WebSocket-Version") != "13") {
        return refusal(426, "WebSocket version 13 is needed", {{"Sec-WebSocket-Version", "13"}});
    }
    const Protocol* chosen = choose(http.values("Sec-WebSocket-Protocol"), known);
    if (chosen == nullptr) {
        return no_protocol(known, "Sec-WebSocket-Protocol");
    }
    return Agreement{.transport = chosen->transport,
                     .version = chosen->version,
                     .headers = {{"Upgrade", "websocket"},
                                 {"Sec-WebSocket-Accept", websocket_accept(key)},
                                 {"Sec-WebSocket-Protocol", std::string(chosen->name)}}};
}

}  // namespace

std::string websocket_accept(std::string_view key) {
    const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    std::array<std::uint8_t, 20> hash{};
    CHECK(::gnutls_hash_fast(GNUTLS_DIG_SHA1, text.data(), text.size(), hash.data()) == 0);
    return to_base64(std::as_bytes(std::span(hash)));
}

std::variant<Agreement, HttpReply> agree(const HttpRequest& http, const StreamRequest& request) {
    const bool is_forward = std::holds_alternative<PortForwardRequest>(request);
    for (const std::string_view wanted : http.values("Upgrade")) {
        if (same_name(wanted, "SPDY/3.1")) {
            return is_forward ? agree_on_spdy(http, kSpdyForward)
                              : agree_on_spdy(http, kSpdyCommand);
        }
        if (same_name(wanted, "websocket")) {
            return is_forward ? agree_on_websocket(http, kSocketForward)
                              : agree_on_websocket(http, kSocketCommand);
        }
    }
    return refusal(400, "an upgrade to SPDY/3.1 or websocket is needed");
}

}  // namespace pepita::cri
