#include "cri/streaming/forward_session.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cri/streaming.h"
#include "cri/streaming/fd_ends.h"
#include "cri/streaming/framing.h"
#include "cri/streaming/session.h"
#include "cri/streaming/websocket.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool is_port =
        parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && port > 0;
    return is_port ? std::optional(port) : std::nullopt;
}

// Clients without request ids open the error stream first and its data stream next.
std::string derived_request(std::string_view type, StreamId id) {
    const std::uint32_t number = std::to_underlying(id);
    return "stream " + std::to_string(type == "data" ? number - 2 : number);
}

}  // namespace

struct ForwardSession::Pair {
    Pair(EventLoop& loop, Outlet::OnChange on_change) : to_pod(loop, std::move(on_change)) {}

    std::string request;
    std::optional<StreamId> data;
    std::optional<StreamId> error;
    std::uint16_t port = 0;
    Outlet to_pod;
    std::unique_ptr<Inlet> from_pod;
    EventLoop::Timer timer;  // for the other stream, then for the removal
    bool was_connected = false;
    bool client_finished = false;
    bool pod_finished = false;
};

ForwardSession::ForwardSession(EventLoop& loop, Wire& wire, StreamTarget& target, Options options)
    : loop_(loop), wire_(wire), target_(target), options_(std::move(options)) {}

ForwardSession::~ForwardSession() = default;

std::vector<ChannelFraming::Channel> ForwardSession::channels(
    const std::vector<std::uint16_t>& ports) {
    std::vector<ChannelFraming::Channel> channels;
    std::uint8_t number = 0;
    for (const std::uint16_t port : ports) {
        const std::string request = std::to_string(number);
        // k8s.io/kubelet portforward/websocket.go: both begin with the port, little endian.
        const std::string greeting = {static_cast<char>(port & 0xffU),
                                      static_cast<char>(port >> 8U)};
        for (const std::string type : {"data", "error"}) {
            channels.push_back({.number = number++,
                                .client_writes = type == "data",
                                .headers = {{"port", std::to_string(port)},
                                            {"requestid", request},
                                            {"streamtype", type}},
                                .greeting = greeting});
        }
    }
    return channels;
}

ForwardSession::Pair* ForwardSession::pair_of(StreamId id) {
    const auto found = std::ranges::find_if(pairs_, [id](const Pairs::value_type& entry) {
        return entry.second->data == id || entry.second->error == id;
    });
    return found == pairs_.end() ? nullptr : found->second.get();
}

void ForwardSession::on_open(StreamId id, const StreamHeaders& headers) {
    const std::string_view type = header(headers, "streamtype");
    const std::optional<std::uint16_t> port = parse_port(header(headers, "port"));
    if ((type != "data" && type != "error") || !port) {
        return wire_.reset(id);
    }
    std::string request(header(headers, "requestid"));
    if (request.empty()) {
        request = derived_request(type, id);
    }
    auto& slot = pairs_[request];
    if (!slot) {
        slot = std::make_unique<Pair>(loop_, [this] { wire_.update(); });
        slot->request = request;
        slot->port = *port;
        slot->timer = loop_.after(options_.pair_timeout, [this, pair = slot.get()] {
            fail(*pair, "the other stream of the pair did not come");
        });
    }
    std::optional<StreamId>& place = type == "data" ? slot->data : slot->error;
    if (place) {
        return wire_.reset(id);
    }
    place = id;
    wire_.accept(id);
    if (slot->data && slot->error) {
        connect(*slot);
    }
}

void ForwardSession::connect(Pair& pair) {
    pair.timer.cancel();
    const std::weak_ptr<bool> alive = alive_;
    target_.port_forward(options_.pod_id, pair.port,
                         [this, alive, request = pair.request](Result<Fd> socket) {
                             if (!alive.expired()) {
                                 on_connected(request, std::move(socket));
                             }
                         });
}

void ForwardSession::on_connected(const std::string& request, Result<Fd> socket) {
    const auto found = pairs_.find(request);
    if (found == pairs_.end() || found->second->was_connected) {
        return;  // the client gave it up meanwhile
    }
    Pair& pair = *found->second;
    if (!socket) {
        return fail(pair, socket.error().message());
    }
    if (const Result<void> joined = join(pair, *std::move(socket)); !joined) {
        fail(pair, joined.error().message());
    }
}

Result<void> ForwardSession::join(Pair& pair, Fd socket) {
    CHECK(pair.data.has_value());
    const StreamId data = *pair.data;
    pair.was_connected = true;
    Fd writer = TRY(duplicate(socket.ref()));
    TRY(pair.to_pod.connect(std::move(writer)));
    pair.from_pod = TRY(Inlet::create(
        loop_, std::move(socket),
        {.has_room = [this] { return wire_.has_room(); },
         .on_bytes = [this, data](std::span<const std::byte> bytes) { wire_.send(data, bytes); },
         .on_end =
             [this, &pair, data] {
                 pair.pod_finished = true;
                 wire_.finish(data);
                 finish_if_both(pair);
             }}));
    return {};
}

void ForwardSession::fail(Pair& pair, const std::string& message) {
    if (pair.error) {
        const std::string text = "error forwarding port " + std::to_string(pair.port) + " to pod " +
                                 options_.pod_id + ": " + message;
        wire_.send(*pair.error, as_wire_bytes(text));
        wire_.finish(*pair.error);
    }
    if (pair.data) {
        wire_.reset(*pair.data);  // whose user would wait for ever
    }
    remove_soon(pair);
}

void ForwardSession::finish_if_both(Pair& pair) {
    if (pair.client_finished && pair.pod_finished && pair.error) {
        wire_.finish(*pair.error);
        remove_soon(pair);
    }
}

// Callbacks of its descriptors may be what calls.
void ForwardSession::remove_soon(Pair& pair) {
    pair.timer = loop_.after(std::chrono::milliseconds(0), [this, request = pair.request] {
        const auto gone = pairs_.extract(request);  // with the timer, and so this call's captures
        wire_.update();
    });
}

void ForwardSession::on_data(StreamId id, std::span<const std::byte> bytes) {
    Pair* pair = pair_of(id);
    if (pair != nullptr && pair->data == id) {
        pair->to_pod.write(bytes);
        wire_.update();
    }
}

void ForwardSession::on_finish(StreamId id) {
    Pair* pair = pair_of(id);
    if (pair == nullptr || pair->data != id) {
        return;  // clients half-close the error stream at once
    }
    pair->client_finished = true;
    pair->to_pod.finish();
    finish_if_both(*pair);
}

void ForwardSession::on_reset(StreamId id) {
    if (Pair* pair = pair_of(id)) {
        if (pair->error) {
            wire_.finish(*pair->error);
        }
        if (pair->data) {
            wire_.reset(*pair->data);
        }
        remove_soon(*pair);
    }
}

bool ForwardSession::can_take() const {
    return std::ranges::none_of(
        pairs_, [](const Pairs::value_type& entry) { return entry.second->to_pod.is_full(); });
}

void ForwardSession::on_room() {
    for (auto& [request, pair] : pairs_) {
        if (pair->from_pod) {
            pair->from_pod->resume();
        }
    }
}

}  // namespace pepita::cri
