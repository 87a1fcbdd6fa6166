#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// Moves bytes one way, from one descriptor to another, in order and without loss, as fast as the
/// slower side goes: at most one buffer is between them, and nothing is read that cannot be held.
///
/// Descriptors that are no sockets should be non-blocking, or the loop waits with them. A regular
/// file may be either end. A descriptor number serves one pump of a loop: for two ways through one
/// socket or terminal, duplicate it. The process ignores SIGPIPE. Thread: that of `loop`.
class Pump {
public:
    static constexpr std::size_t kBufferSize = std::size_t{64} * 1024;

    enum class End : std::uint8_t {
        Source,  // the source ended (EIO of a pty whose last user went counts as its end)
        Sink,    // the sink's reader went (EPIPE, ECONNRESET)
        Failed,  // another error of either
    };
    using OnEnd = std::move_only_function<void(End)>;

    /// Both descriptors are borrowed until the pump ends or goes. `on_end` is called once, after
    /// everything that was read has been written; the pump may go in that call. It may also be
    /// called from finish().
    static Result<std::unique_ptr<Pump>> create(EventLoop& loop, FdRef source, FdRef sink,
                                                OnEnd on_end);

    /// What the source holds now is the last of it: it is passed on until the source would block,
    /// then the pump ends, even if somebody still holds the other end.
    void finish();

    Pump(const Pump&) = delete;
    Pump& operator=(const Pump&) = delete;
    Pump(Pump&&) = delete;
    Pump& operator=(Pump&&) = delete;
    ~Pump();

private:
    Pump(EventLoop& loop, FdRef source, FdRef sink, OnEnd on_end);
    enum class Progress : std::uint8_t { Moved, Blocked, Ended };
    Progress fill();
    Progress drain();
    void advance();
    void on_sink(std::uint32_t events);
    void wait_for_next();
    void end(End how);

    EventLoop& loop_;
    FdRef source_;
    FdRef sink_;
    bool source_is_socket_;
    bool sink_is_socket_;
    OnEnd on_end_;
    std::optional<EventLoop::Watch> source_watch_;  // none: always ready, as a regular file is
    std::optional<EventLoop::Watch> sink_watch_;
    EventLoop::Timer again_;
    std::array<std::byte, kBufferSize> buffer_{};
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    bool source_ended_ = false;
    bool is_last_ = false;
};

}  // namespace pepita
