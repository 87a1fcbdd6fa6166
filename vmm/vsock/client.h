#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "vmm/vsock/buffer.h"

namespace pepita::vmm::vsock {

/// The host's end of a connection: a unix socket that never makes us wait.
class Client {
public:
    using Segment = std::span<std::byte>;

    /// `socket` is non-blocking.
    explicit Client(Fd socket) : socket_(std::move(socket)) {}

    FdRef socket() const { return socket_.ref(); }

    /// What a read would find. `ended`: there is nothing, and never will be.
    struct Waiting {
        std::size_t size = 0;
        bool ended = false;
    };
    Waiting waiting() const;

    /// Reads what is there, at most what `into` holds (and at most 64 segments of it).
    std::size_t receive(std::span<const Segment> into);

    /// Takes all of `from`: to the socket what it accepts, the rest to the buffer, whose room the
    /// caller has checked. Gives how many bytes need no more care: they are out, or lost.
    std::uint32_t deliver(std::span<const Segment> from);

    /// Moves buffered bytes on; gives how many.
    std::uint32_t flush();

    /// Says something that is no part of the guest's stream. False where it did not fit.
    bool say(std::string_view text);

    bool has_unsent() const { return !unsent_.empty(); }

    /// After the last buffered byte: end of stream.
    void finish_sending();
    /// The client's writes fail from now on.
    void stop_receiving();

    /// It takes no more: a write failed, or give_up().
    bool is_deaf() const { return deaf_; }
    /// Nothing more goes out. Gives how many buffered bytes were lost.
    std::uint32_t give_up();

private:
    std::size_t send(std::span<const Segment> from);
    void finish_if_empty();

    Fd socket_;
    Buffer unsent_;
    bool finishing_ = false;
    bool finished_ = false;
    bool deaf_ = false;
};

}  // namespace pepita::vmm::vsock
