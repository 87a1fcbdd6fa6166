#pragma once

#include <zlib.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "cri/streaming/framing.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Name and value blocks of SPDY/3: one zlib stream per direction for the whole connection.
class SpdyHeaderCodec {
public:
    static constexpr std::size_t kBlockSizeMax = std::size_t{64} * 1024;  // inflated
    static constexpr std::size_t kHeadersMax = 64;

    static Result<std::unique_ptr<SpdyHeaderCodec>> create();
    SpdyHeaderCodec(const SpdyHeaderCodec&) = delete;
    SpdyHeaderCodec& operator=(const SpdyHeaderCodec&) = delete;
    SpdyHeaderCodec(SpdyHeaderCodec&&) = delete;
    SpdyHeaderCodec& operator=(SpdyHeaderCodec&&) = delete;
    ~SpdyHeaderCodec();

    /// Errors: InvalidArgument for what is no zlib stream of this connection, over a limit, or
    /// malformed. The connection cannot go on after any of them.
    Result<StreamHeaders> inflate(std::span<const std::byte> block);
    std::string deflate(const StreamHeaders& headers);

private:
    SpdyHeaderCodec() = default;

    z_stream inflate_{};
    z_stream deflate_{};
};

/// The server's side of SPDY/3.1, as far as Kubernetes clients use it: streams that the client
/// opens, data, half-close, reset, ping. Flow control windows are ignored by both sides
/// (moby/spdystream sends no WINDOW_UPDATE and expects none): TCP alone holds a sender back.
class SpdyFraming final : public Framing {
public:
    static constexpr std::size_t kControlFrameSizeMax = std::size_t{64} * 1024;
    static constexpr std::size_t kStreamsMax = 512;  // at once

    static Result<std::unique_ptr<SpdyFraming>> create();

    void start(StreamEvents& events) override;
    Result<void> feed(std::span<const std::byte> bytes, StreamEvents& events) override;
    void accept(StreamId id) override;
    void send(StreamId id, std::span<const std::byte> bytes) override;
    void finish(StreamId id) override;
    void reset(StreamId id) override;
    void say_goodbye() override;
    std::string& output() override { return output_; }

private:
    struct Stream {
        bool client_finished = false;
        bool server_finished = false;
    };
    using Streams = std::map<StreamId, Stream>;
    enum class Stage : std::uint8_t { Head, Control, Data };

    explicit SpdyFraming(std::unique_ptr<SpdyHeaderCodec> codec) : codec_(std::move(codec)) {}
    Result<void> on_head(StreamEvents& events);
    Result<void> on_control(StreamEvents& events);
    Result<void> on_syn_stream(std::span<const std::byte> body, StreamEvents& events);
    void on_client_data(std::span<const std::byte> bytes, StreamEvents& events);
    void finish_client(StreamId id, StreamEvents& events);
    void forget_if_finished(Streams::iterator stream);
    void put_control(std::uint16_t type, std::uint8_t flags, std::string_view body);
    void put_reset(StreamId id, std::uint32_t status);

    std::unique_ptr<SpdyHeaderCodec> codec_;
    std::string output_;
    Streams streams_;
    std::uint32_t last_id_ = 0;

    Stage stage_ = Stage::Head;
    std::array<std::byte, 8> head_{};
    std::size_t head_size_ = 0;
    std::string body_;
    std::uint32_t left_ = 0;  // of the frame in progress
    std::uint8_t flags_ = 0;
};

}  // namespace pepita::cri
