#pragma once

#include <list>
#include <memory>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/channel.h"
#include "runtime/task_events.h"
#include "shim/clock.h"
#include "shim/isolation.h"
#include "shim/pod.h"

namespace pepita::shim {

/// One pod and its clients: those that come to its socket, and those that a program adds. It stops
/// the loop when there is nothing left to stay for. Thread: that of the loop.
class Server {
public:
    struct Options {
        runtime::EventPublisher::Options events;
        Pod::OnCreate on_create;                                         // optional
        std::move_only_function<void(const runtime::TaskEvent&)> watch;  // optional
        std::move_only_function<Result<void>(Isolation)> on_boot = nullptr;
    };
    Server(EventLoop& loop, Options options);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    Server(Server&&) = delete;
    Server& operator=(Server&&) = delete;
    ~Server() = default;

    Result<void> add(Fd socket);
    /// The same, for one that may fail: the log says why.
    void on_client(Fd client);
    /// Unless there is a pod or a client.
    void stop_if_idle();

private:
    void dispatch(runtime::Channel::Call call);

    EventLoop& loop_;
    Options options_;
    LoopClock clock_;
    std::list<std::shared_ptr<runtime::Channel>> clients_;
    runtime::EventPublisher publisher_;
    EventLoop::Timer untold_;
    Pod pod_;
};

/// What a process that serves pods needs of its surroundings. At its start.
void prepare_process();

}  // namespace pepita::shim
