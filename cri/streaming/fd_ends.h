#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Reads a descriptor while its reader has room. The descriptor is a pipe, a socket or a terminal,
/// non-blocking. Thread: that of `loop`.
class Inlet {
public:
    static constexpr std::size_t kChunkSize = std::size_t{32} * 1024;

    struct Events {
        std::move_only_function<bool()> has_room;
        std::move_only_function<void(std::span<const std::byte>)> on_bytes;
        /// Once: end of file, or an error (EIO is the end of a terminal).
        std::move_only_function<void()> on_end;
    };

    static Result<std::unique_ptr<Inlet>> create(EventLoop& loop, Fd source, Events events);

    /// There is room again.
    void resume();
    /// Reads, while there is room, what the source holds now.
    void drain();
    bool has_ended() const { return !source_; }

private:
    Inlet(EventLoop& loop, Fd source, Events events);
    /// Whether there may be more.
    bool read_some();
    void end();

    EventLoop& loop_;
    Fd source_;
    Events events_;
    std::string buffer_;
    EventLoop::Watch watch_;
    bool is_paused_ = false;
};

/// Writes what a client sends to a descriptor, as fast as that takes it. It collects before it has
/// one. A descriptor whose reader has gone swallows the rest, as a shell's pipe does.
class Outlet {
public:
    /// Beyond it, the connection is no longer read.
    static constexpr std::size_t kQueueMax = std::size_t{256} * 1024;
    using OnChange = std::move_only_function<void()>;

    /// `on_change` is called when the queue has become shorter.
    Outlet(EventLoop& loop, OnChange on_change);
    Outlet(const Outlet&) = delete;
    Outlet& operator=(const Outlet&) = delete;
    Outlet(Outlet&&) = delete;
    Outlet& operator=(Outlet&&) = delete;
    ~Outlet();

    Result<void> connect(Fd sink);
    void write(std::span<const std::byte> bytes);
    /// Closes the descriptor, or a socket's direction, once the queue is empty.
    void finish();
    bool is_full() const { return queue_.size() - begin_ >= kQueueMax; }

private:
    void drain(std::uint32_t events);
    void close();

    EventLoop& loop_;
    OnChange on_change_;
    Fd sink_;
    EventLoop::Watch watch_;
    std::string queue_;
    std::size_t begin_ = 0;
    bool is_connected_ = false;
    bool is_finished_ = false;
};

}  // namespace pepita::cri
