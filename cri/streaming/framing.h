#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// One stream of a client's connection: SPDY's number, or a WebSocket channel.
enum class StreamId : std::uint32_t {};

using StreamHeaders = std::vector<std::pair<std::string, std::string>>;

/// The value of the first header of that name, in any case; "" if there is none.
std::string_view header(const StreamHeaders& headers, std::string_view name);

/// What the client does to its streams. Sessions implement it.
class StreamEvents {
public:
    StreamEvents() = default;
    StreamEvents(const StreamEvents&) = delete;
    StreamEvents& operator=(const StreamEvents&) = delete;
    StreamEvents(StreamEvents&&) = delete;
    StreamEvents& operator=(StreamEvents&&) = delete;
    virtual ~StreamEvents() = default;

    virtual void on_open(StreamId id, const StreamHeaders& headers) = 0;
    virtual void on_data(StreamId id, std::span<const std::byte> bytes) = 0;
    /// The client sends no more on it, and still receives.
    virtual void on_finish(StreamId id) = 0;
    /// The client gave the stream up, in both directions.
    virtual void on_reset(StreamId id) = 0;
};

/// How streams share one connection. Bytes for the client are appended to output(), which the
/// connection sends and empties. An operation on a stream that has ended is ignored.
class Framing {
public:
    Framing() = default;
    Framing(const Framing&) = delete;
    Framing& operator=(const Framing&) = delete;
    Framing(Framing&&) = delete;
    Framing& operator=(Framing&&) = delete;
    virtual ~Framing() = default;

    /// Opens the streams that exist without the client's request: WebSocket channels.
    virtual void start(StreamEvents& events) = 0;
    /// Parses all of `bytes`. Errors: InvalidArgument where the client breaks the protocol or a
    /// limit; Cancelled where it closed the connection in order.
    virtual Result<void> feed(std::span<const std::byte> bytes, StreamEvents& events) = 0;

    virtual void accept(StreamId id) = 0;
    virtual void send(StreamId id, std::span<const std::byte> bytes) = 0;
    virtual void finish(StreamId id) = 0;
    virtual void reset(StreamId id) = 0;
    /// The last message of the connection.
    virtual void say_goodbye() = 0;

    virtual std::string& output() = 0;
};

}  // namespace pepita::cri
