#pragma once

#include <memory>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "storage/daemon/node.h"
#include "storage/daemon/options.h"
#include "storage/daemon/server.h"
#include "storage/daemon/service.h"
#include "storage/daemon/worker.h"

namespace pepita::storage::daemon {

/// pepita-storage, put together: locks, node, service, socket, metrics. Thread: that of `loop`,
/// which it stops when all is over.
class Daemon {
public:
    /// Takes the locks and begins to take over what an earlier daemon has left; the socket is there
    /// once that is done. Errors: FailedPrecondition where another daemon has the socket or the
    /// memory.
    static Result<std::unique_ptr<Daemon>> create(EventLoop& loop, Options options);
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    Daemon(Daemon&&) = delete;
    Daemon& operator=(Daemon&&) = delete;
    ~Daemon() = default;

    /// Takes no more calls, answers those it has, ends the front ends, stops the loop.
    void stop();

    /// Why it ended; what the loop gave up for.
    Result<void> result() { return std::move(result_); }

private:
    Daemon(EventLoop& loop, Options options) : loop_(loop), options_(std::move(options)) {}
    Result<void> take_places();
    Result<std::unique_ptr<Node>> make_node() const;
    void on_open(Result<void> opened);
    void write_metrics();
    void mark_idle();
    void compact_idle();

    EventLoop& loop_;
    Options options_;
    Fd socket_lock_;
    Fd memory_lock_;
    Fd state_lock_;
    Result<void> result_;
    bool is_stopping_ = false;
    std::unique_ptr<Service> service_;
    std::unique_ptr<Worker> worker_;  // gone before what its tasks use
    std::unique_ptr<Server> server_;
    EventLoop::Timer metrics_;
    EventLoop::Timer cold_;
};

}  // namespace pepita::storage::daemon
