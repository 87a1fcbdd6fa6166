#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {

/// Brings connections and the streams they are meant for together: gives out numbers that nobody
/// can guess, and takes from each connection the eight bytes that name one. A number is good once.
/// Thread: that of `loop`.
class StreamServer {
public:
    /// Connections that have not sent a number yet: three of each process that a guest may have.
    static constexpr std::size_t kNamelessMax = 768;

    using OnConnected = std::move_only_function<void(Fd)>;

    explicit StreamServer(EventLoop& loop) : loop_(loop) {}

    /// A new number; `on_connected` gets the connection that names it.
    Result<std::uint64_t> expect(OnConnected on_connected);

    /// Takes a number back that nobody has used. 0 and used ones are no error.
    void forget(std::uint64_t number) { expected_.erase(number); }

    /// A connection that came in, non-blocking. One that is slow, or names nothing that is
    /// expected, is closed.
    void add(Fd connection);

private:
    struct Nameless {
        Fd connection;
        std::array<std::byte, 8> number{};
        std::size_t size = 0;
        EventLoop::Watch watch;
        EventLoop::Timer deadline;
    };
    using Place = std::list<Nameless>::iterator;
    void on_bytes(Place place);

    EventLoop& loop_;
    std::map<std::uint64_t, OnConnected> expected_;
    std::list<Nameless> nameless_;
};

}  // namespace pepita::runtime::guest
