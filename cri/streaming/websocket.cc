#include "cri/streaming/websocket.h"

#include <sys/types.h>
#include <wslay/wslay.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cri/streaming/framing.h"
#include "cri/streaming/spdy.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

// SAFETY: wslay's bytes are unsigned char, and its user data is the WebSocket that made the
// context.
struct WebSocket::Callbacks {
    static ssize_t receive(wslay_event_context* context, std::uint8_t* into, std::size_t size,
                           int /*flags*/, void* user) {
        auto& socket = *static_cast<WebSocket*>(user);
        if (socket.input_.empty() || socket.failure_) {
            ::wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
            return -1;
        }
        const std::size_t part = std::min(size, socket.input_.size());
        std::ranges::copy(socket.input_.first(part), reinterpret_cast<std::byte*>(into));
        socket.input_ = socket.input_.subspan(part);
        return static_cast<ssize_t>(part);
    }

    static ssize_t send(wslay_event_context* /*context*/, const std::uint8_t* bytes,
                        std::size_t size, int /*flags*/, void* user) {
        static_cast<WebSocket*>(user)->output_.append(reinterpret_cast<const char*>(bytes), size);
        return static_cast<ssize_t>(size);
    }

    static void on_frame(wslay_event_context* /*context*/,
                         const wslay_event_on_frame_recv_start_arg* frame, void* user) {
        auto& socket = *static_cast<WebSocket*>(user);
        socket.in_control_ = wslay_is_ctrl_frame(frame->opcode) != 0;
        if (!socket.in_control_ && frame->opcode != WSLAY_CONTINUATION_FRAME) {
            socket.next_ = Part::First;
        }
    }

    static void on_chunk(wslay_event_context* /*context*/,
                         const wslay_event_on_frame_recv_chunk_arg* chunk, void* user) {
        auto& socket = *static_cast<WebSocket*>(user);
        if (socket.in_control_ || socket.failure_ || chunk->data_length == 0) {
            return;
        }
        const Part part = std::exchange(socket.next_, Part::Later);
        if (auto done = socket.on_piece_(
                part, {reinterpret_cast<const std::byte*>(chunk->data), chunk->data_length});
            !done) {
            socket.failure_ = std::move(done).error();
        }
    }
};

Result<std::unique_ptr<WebSocket>> WebSocket::create(OnPiece on_piece) {
    std::unique_ptr<WebSocket> socket(new WebSocket(std::move(on_piece)));
    wslay_event_callbacks callbacks{};
    callbacks.recv_callback = Callbacks::receive;
    callbacks.send_callback = Callbacks::send;
    callbacks.on_frame_recv_start_callback = Callbacks::on_frame;
    callbacks.on_frame_recv_chunk_callback = Callbacks::on_chunk;
    if (::wslay_event_context_server_init(&socket->context_, &callbacks, socket.get()) != 0) {
        return Error(Code::ResourceExhausted, "wslay: no memory");
    }
    ::wslay_event_config_set_no_buffering(socket->context_, 1);
    return socket;
}

WebSocket::~WebSocket() {
    if (context_ != nullptr) {
        ::wslay_event_context_free(context_);
    }
}

Result<void> WebSocket::feed(std::span<const std::byte> bytes) {
    input_ = bytes;
    const int received = ::wslay_event_recv(context_);
    input_ = {};
    flush();
    if (failure_) {
        return Error(failure_->code(), failure_->message());
    }
    if (::wslay_event_get_close_received(context_) != 0) {
        return Error(Code::Cancelled, "websocket: closed by the client");
    }
    if (received != 0 || ::wslay_event_get_read_enabled(context_) == 0) {
        return Error(Code::InvalidArgument, "websocket: malformed frame");
    }
    return {};
}

void WebSocket::send(std::span<const std::byte> head, std::span<const std::byte> bytes) {
    std::vector<std::uint8_t> text;
    text.reserve(head.size() + bytes.size());
    for (const auto part : {head, bytes}) {
        const auto* data = reinterpret_cast<const std::uint8_t*>(part.data());
        text.insert(text.end(), data, data + part.size());
    }
    const wslay_event_msg message{
        .opcode = WSLAY_BINARY_FRAME, .msg = text.data(), .msg_length = text.size()};
    ::wslay_event_queue_msg(context_, &message);  // refused after Close: nobody reads it then
    flush();
}

void WebSocket::close() {
    ::wslay_event_queue_close(context_, WSLAY_CODE_NORMAL_CLOSURE, nullptr, 0);
    flush();
}

void WebSocket::flush() { ::wslay_event_send(context_); }

Result<std::unique_ptr<ChannelFraming>> ChannelFraming::create(Version version,
                                                               std::vector<Channel> channels) {
    std::unique_ptr<ChannelFraming> framing(new ChannelFraming(version, std::move(channels)));
    framing->socket_ = TRY(WebSocket::create(
        [self = framing.get()](WebSocket::Part part, std::span<const std::byte> bytes) {
            self->on_piece(part, bytes);
            return Result<void>();
        }));
    return framing;
}

void ChannelFraming::start(StreamEvents& events) {
    for (const Channel& channel : channels_) {
        events.on_open(StreamId{channel.number}, channel.headers);
    }
    for (const Channel& channel : channels_) {
        if (!channel.greeting.empty()) {
            send(StreamId{channel.number}, std::as_bytes(std::span(channel.greeting)));
        }
    }
}

Result<void> ChannelFraming::feed(std::span<const std::byte> bytes, StreamEvents& events) {
    events_ = &events;
    return socket_->feed(bytes);
}

void ChannelFraming::on_piece(WebSocket::Part part, std::span<const std::byte> bytes) {
    if (part == WebSocket::Part::First) {
        channel_ = std::to_integer<std::uint8_t>(bytes.front());
        bytes = bytes.subspan(1);
    }
    if (bytes.empty() || !channel_) {
        return;
    }
    if (*channel_ == kClose && version_ == Version::V5) {
        channel_.reset();  // what follows the first byte means nothing
        on_close(std::to_integer<std::uint8_t>(bytes.front()));
        return;
    }
    const auto found = std::ranges::find(channels_, *channel_, &Channel::number);
    if (found != channels_.end() && found->client_writes) {
        events_->on_data(StreamId{*channel_}, bytes);
    }
}

void ChannelFraming::on_close(std::uint8_t number) {
    const auto found = std::ranges::find(channels_, number, &Channel::number);
    if (found != channels_.end() && std::exchange(found->client_writes, false)) {
        events_->on_finish(StreamId{number});
    }
}

void ChannelFraming::accept(StreamId /*id*/) {}

void ChannelFraming::send(StreamId id, std::span<const std::byte> bytes) {
    const auto number = static_cast<std::byte>(std::to_underlying(id));
    socket_->send(std::span(&number, 1), bytes);
}

// The server has no message for the end of a channel: the end of the connection is.
void ChannelFraming::finish(StreamId /*id*/) {}
void ChannelFraming::reset(StreamId /*id*/) {}

void ChannelFraming::say_goodbye() { socket_->close(); }

Result<std::unique_ptr<TunnelFraming>> TunnelFraming::create() {
    auto spdy = TRY(SpdyFraming::create());
    std::unique_ptr<TunnelFraming> framing(new TunnelFraming(std::move(spdy)));
    framing->socket_ = TRY(WebSocket::create(
        [self = framing.get()](WebSocket::Part /*part*/, std::span<const std::byte> bytes) {
            return self->spdy_->feed(bytes, *self->events_);
        }));
    return framing;
}

void TunnelFraming::start(StreamEvents& /*events*/) {}

Result<void> TunnelFraming::feed(std::span<const std::byte> bytes, StreamEvents& events) {
    events_ = &events;
    auto fed = socket_->feed(bytes);
    wrap();
    return fed;
}

void TunnelFraming::accept(StreamId id) {
    spdy_->accept(id);
    wrap();
}

void TunnelFraming::send(StreamId id, std::span<const std::byte> bytes) {
    spdy_->send(id, bytes);
    wrap();
}

void TunnelFraming::finish(StreamId id) {
    spdy_->finish(id);
    wrap();
}

void TunnelFraming::reset(StreamId id) {
    spdy_->reset(id);
    wrap();
}

void TunnelFraming::say_goodbye() {
    spdy_->say_goodbye();
    wrap();
    socket_->close();
}

void TunnelFraming::wrap() {
    if (!spdy_->output().empty()) {
        socket_->send({}, std::as_bytes(std::span(spdy_->output())));
        spdy_->output().clear();
    }
}

}  // namespace pepita::cri
