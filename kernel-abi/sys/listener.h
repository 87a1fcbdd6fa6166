#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// Accepts the clients of a listening socket. Where the process or the machine has no descriptor or
/// memory for one more, it pauses: a listener is ready as long as a client waits, so trying again
/// at once would spin. Thread: that of `loop`.
class Listener {
public:
    /// The next client, non-blocking; accept_client() for unix sockets.
    using Accept = Result<Fd> (*)(FdRef listener);
    using OnClient = std::move_only_function<void(Fd)>;
    using OnPause = std::move_only_function<void(const Error&)>;

    struct Options {
        Accept accept = nullptr;  // nullptr: accept_client
        OnPause on_pause;         // optional, to log it
    };
    /// `on_client` may destroy the Listener.
    static Result<std::unique_ptr<Listener>> create(EventLoop& loop, Fd socket, OnClient on_client);
    static Result<std::unique_ptr<Listener>> create(EventLoop& loop, Fd socket, OnClient on_client,
                                                    Options options);

    FdRef socket() const { return socket_.ref(); }

    /// Accepts nobody until resume(): clients wait in the backlog.
    void suspend();
    void resume();

private:
    Listener(EventLoop& loop, Fd socket, OnClient on_client, Options options);
    void on_ready();

    EventLoop& loop_;
    Fd socket_;
    OnClient on_client_;
    Options options_;
    EventLoop::Watch watch_;
    EventLoop::Timer pause_;
    bool is_suspended_ = false;
};

}  // namespace pepita
