#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime {

/// One ttrpc connection over a stream socket (unix or vsock): either side may call, both ways at
/// once. Each numbers its own calls 1, 3, 5, ...; the type of a message tells whose it answers.
/// Unary calls only. Frames: 10 bytes of header (length u32, stream u32, type u8, flags u8,
/// big-endian), then a Request or Response message of at most 4 MiB.
/// Source: github.com/containerd/ttrpc PROTOCOL.md.
///
/// Thread: that of `loop`. A peer that breaks the protocol loses its connection, nothing else.
class Channel : public std::enable_shared_from_this<Channel> {
public:
    /// The answer to a call, or its Error: the peer's status (Code is the gRPC code), or
    /// Unavailable where the connection ended first, or DeadlineExceeded.
    using Reply = std::move_only_function<void(Result<std::string> payload)>;

    /// One call that the peer made. respond exactly once, at any later time on this thread; a
    /// Responder that goes without having responded answers Internal.
    class Responder {
    public:
        Responder(std::weak_ptr<Channel> channel, std::uint32_t stream);
        Responder(Responder&& other) noexcept;
        Responder& operator=(Responder&& other) noexcept;
        Responder(const Responder&) = delete;
        Responder& operator=(const Responder&) = delete;
        ~Responder();
        /// Where the connection is gone the answer is dropped.
        void respond(Result<std::string> payload);

    private:
        std::weak_ptr<Channel> channel_;
        std::uint32_t stream_ = 0;  // 0: responded
    };

    struct Call {
        std::string service;
        std::string method;
        std::string payload;
        std::vector<Fd> fds;  // came with the frame's bytes; unix sockets only
        Responder responder;
    };

    struct Handlers {
        std::move_only_function<void(Call)> on_call;            // empty: every call is Unsupported
        std::move_only_function<void(const Error&)> on_closed;  // once; not after close()
    };

    static Result<std::shared_ptr<Channel>> create(EventLoop& loop, Fd socket, Handlers handlers);

    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    Channel(Channel&&) = delete;
    Channel& operator=(Channel&&) = delete;
    ~Channel();

    struct CallOptions {
        std::optional<std::chrono::milliseconds> deadline;
        std::span<const FdRef> fds;  // sent beside the frame; borrowed until the call is on its way
    };
    /// `service` is the full name ("pepita.guest.v1.Guest").
    void call(std::string_view service, std::string_view method, std::string payload,
              const CallOptions& options, Reply on_reply);

    /// Ends the connection; open calls get Unavailable.
    void close();

private:
    struct Outgoing {
        std::string bytes;
        std::size_t sent = 0;
        std::vector<Fd> fds;  // go with the first byte
    };
    struct OpenCall {
        Reply on_reply;
        EventLoop::Timer deadline;
    };

    Channel(EventLoop& loop, Fd socket, Handlers handlers);
    void on_ready(std::uint32_t events);
    Result<void> receive();
    Result<void> take_frames();
    Result<void> take_request(std::uint32_t stream, std::string_view message);
    void take_response(std::uint32_t stream, std::string_view message);
    void answer(std::uint32_t stream, const Result<std::string>& payload);
    void send(Outgoing outgoing);
    Result<void> flush();
    void fail(const Error& error);
    void fail_later(Error error);

    EventLoop& loop_;
    Fd socket_;
    Handlers handlers_;
    EventLoop::Watch watch_;
    EventLoop::Timer failing_;
    bool is_failing_ = false;  // on its way to fail(): nothing more is sent
    std::string incoming_;
    std::deque<Fd> incoming_fds_;
    std::deque<Outgoing> outgoing_;
    std::size_t outgoing_bytes_ = 0;
    std::uint32_t next_stream_ = 1;
    std::map<std::uint32_t, OpenCall> calls_;  // ours, by stream
};

}  // namespace pepita::runtime
