#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cri/streaming.h"
#include "cri/streaming/fd_ends.h"
#include "cri/streaming/framing.h"
#include "cri/streaming/session.h"
#include "cri/streaming/websocket.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// That of an ExecRequest or an AttachRequest.
StreamChoice choice_of(const StreamRequest& request);

/// What the error stream says of a process's end: metav1.Status as JSON from version 4 on, the
/// message alone before, nothing for a success there.
std::string exit_message(const Result<std::uint32_t>& exit, unsigned version);

/// The JSON objects of the resize stream, one behind the other.
class ResizeReader {
public:
    static constexpr std::size_t kObjectSizeMax = 1024;

    /// The last size that `bytes` completes. What is no size ends the reading of them for good.
    std::optional<TerminalSize> feed(std::span<const std::byte> bytes);

private:
    std::string object_;
    bool is_broken_ = false;
};

/// exec or attach: the client's streams and the process's, joined.
class ExecSession final : public Session {
public:
    struct Options {
        unsigned version;  // of the sub-protocol
        std::chrono::milliseconds streams_timeout;
        std::chrono::milliseconds output_grace;
    };

    /// `request` is an ExecRequest or an AttachRequest; `wire` and `target` outlive the session.
    ExecSession(EventLoop& loop, Wire& wire, StreamTarget& target, StreamRequest request,
                Options options);

    /// The channels of a WebSocket.
    static std::vector<ChannelFraming::Channel> channels(const StreamChoice& choice);

    void on_open(StreamId id, const StreamHeaders& headers) override;
    void on_data(StreamId id, std::span<const std::byte> bytes) override;
    void on_finish(StreamId id) override;
    void on_reset(StreamId id) override;
    bool can_take() const override { return !in_.is_full(); }
    void on_room() override;

private:
    struct Streams {
        std::optional<StreamId> error;
        std::optional<StreamId> in;
        std::optional<StreamId> out;
        std::optional<StreamId> err;
        std::optional<StreamId> resize;
    };

    std::optional<StreamId>* place_of(std::string_view type);
    bool has_all() const;
    void start();
    void on_started(Result<StartedProcess> started);
    Result<void> connect(StartedProcess started);
    Result<std::unique_ptr<Inlet>> forward(Fd source, StreamId to);
    void on_exit(Result<std::uint32_t> exit);
    void wait_for_output();
    void conclude();

    EventLoop& loop_;
    Wire& wire_;
    StreamTarget& target_;
    StreamRequest request_;
    StreamChoice choice_;
    Options options_;
    Streams streams_;
    ResizeReader resizes_;
    Outlet in_;
    std::unique_ptr<Inlet> out_;
    std::unique_ptr<Inlet> err_;
    std::unique_ptr<StreamedProcess> process_;
    std::optional<TerminalSize> size_;  // that came before the process
    std::optional<Result<std::uint32_t>> exit_;
    EventLoop::Timer timer_;
    bool was_started_ = false;
    bool is_concluded_ = false;
    bool output_moved_ = false;
    // The target's callbacks hold it weakly: they may come after the client has gone.
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace pepita::cri
