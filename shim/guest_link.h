#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {

/// Connects to a port of a guest's vsock through the unix socket `name` in `directory`, with
/// Firecracker's words: "CONNECT <port>\n", answered by "OK <port>\n".
///
/// Gives the connected socket to `done`, or the reason why not, once and later; not if the returned
/// handle goes first.
class GuestConnect {
public:
    using Done = std::move_only_function<void(Result<Fd>)>;
    struct Target {
        FdRef directory;
        std::string name;
        std::uint32_t port;
        std::chrono::milliseconds deadline;
    };
    static std::unique_ptr<GuestConnect> start(EventLoop& loop, const Target& target, Done done);

private:
    explicit GuestConnect(Done done) : done_(std::move(done)) {}
    Result<void> begin(EventLoop& loop, const Target& target);
    void on_answer();
    void finish(Result<Fd> result);

    Fd socket_;
    EventLoop::Watch watch_;
    EventLoop::Timer deadline_;
    std::string answer_;
    Done done_;
};

/// Waits for the guest's word that it serves: a connection that says "ready\n". Whatever else comes
/// there is closed and ignored.
class ReadyListener {
public:
    static Result<std::unique_ptr<ReadyListener>> create(EventLoop& loop, Fd listener,
                                                         std::move_only_function<void()> on_ready);

private:
    explicit ReadyListener(std::move_only_function<void()> on_ready)
        : on_ready_(std::move(on_ready)) {}
    void on_client(EventLoop& loop, Fd client);
    void on_word();

    std::move_only_function<void()> on_ready_;
    std::unique_ptr<Listener> listener_;
    Fd client_;  // one at a time: a new one takes the place of the last
    std::string word_;
    EventLoop::Watch client_watch_;
};

}  // namespace pepita::shim
