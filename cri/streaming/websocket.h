#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cri/streaming/framing.h"
#include "cri/streaming/spdy.h"
#include "kernel-abi/sys/result.h"

struct wslay_event_context;

namespace pepita::cri {

/// The server's side of one WebSocket after its handshake (RFC 6455). Messages of any length are
/// passed on as their bytes arrive, so a long one costs no memory; pings are answered.
class WebSocket {
public:
    enum class Part : std::uint8_t { First, Later };
    /// A piece of a message. An error ends the feed() that it happened in.
    using OnPiece = std::move_only_function<Result<void>(Part, std::span<const std::byte>)>;

    static Result<std::unique_ptr<WebSocket>> create(OnPiece on_piece);
    WebSocket(const WebSocket&) = delete;
    WebSocket& operator=(const WebSocket&) = delete;
    WebSocket(WebSocket&&) = delete;
    WebSocket& operator=(WebSocket&&) = delete;
    ~WebSocket();

    /// Errors: InvalidArgument where the client breaks the protocol; Cancelled once it has sent
    /// Close; on_piece's own. The answer to Close is in output() then.
    Result<void> feed(std::span<const std::byte> bytes);
    /// One binary message of both parts.
    void send(std::span<const std::byte> head, std::span<const std::byte> bytes);
    void close();
    std::string& output() { return output_; }

private:
    struct Callbacks;  // wslay's

    explicit WebSocket(OnPiece on_piece) : on_piece_(std::move(on_piece)) {}
    void flush();

    OnPiece on_piece_;
    wslay_event_context* context_ = nullptr;
    std::string output_;
    std::span<const std::byte> input_;
    std::optional<Error> failure_;
    Part next_ = Part::First;
    bool in_control_ = false;
};

/// One stream per channel, whose number is the first byte of each message:
/// v4.channel.k8s.io, and v5, whose channel 255 half-closes another.
class ChannelFraming final : public Framing {
public:
    static constexpr std::uint8_t kClose = 255;
    enum class Version : std::uint8_t { V4 = 4, V5 = 5 };
    struct Channel {
        std::uint8_t number;
        bool client_writes;
        StreamHeaders headers;  // what an SPDY client would open it with
        std::string greeting;   // sent as its first message
    };

    static Result<std::unique_ptr<ChannelFraming>> create(Version version,
                                                          std::vector<Channel> channels);

    void start(StreamEvents& events) override;
    Result<void> feed(std::span<const std::byte> bytes, StreamEvents& events) override;
    void accept(StreamId id) override;
    void send(StreamId id, std::span<const std::byte> bytes) override;
    void finish(StreamId id) override;
    void reset(StreamId id) override;
    void say_goodbye() override;
    std::string& output() override { return socket_->output(); }

private:
    ChannelFraming(Version version, std::vector<Channel> channels)
        : version_(version), channels_(std::move(channels)) {}
    void on_piece(WebSocket::Part part, std::span<const std::byte> bytes);
    void on_close(std::uint8_t number);

    Version version_;
    std::vector<Channel> channels_;
    std::unique_ptr<WebSocket> socket_;
    StreamEvents* events_ = nullptr;       // in feed()
    std::optional<std::uint8_t> channel_;  // of the message in progress
};

/// SPDY inside of binary messages: SPDY/3.1+portforward.k8s.io.
class TunnelFraming final : public Framing {
public:
    static Result<std::unique_ptr<TunnelFraming>> create();

    void start(StreamEvents& events) override;
    Result<void> feed(std::span<const std::byte> bytes, StreamEvents& events) override;
    void accept(StreamId id) override;
    void send(StreamId id, std::span<const std::byte> bytes) override;
    void finish(StreamId id) override;
    void reset(StreamId id) override;
    void say_goodbye() override;
    std::string& output() override { return socket_->output(); }

private:
    explicit TunnelFraming(std::unique_ptr<SpdyFraming> spdy) : spdy_(std::move(spdy)) {}
    void wrap();

    std::unique_ptr<SpdyFraming> spdy_;
    std::unique_ptr<WebSocket> socket_;
    StreamEvents* events_ = nullptr;  // in feed()
};

}  // namespace pepita::cri
