#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "compute/fault/phi_detector.h"
#include "compute/transport/frame.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute {

/// One end of the way between a pool and a remote worker, over a unix or vsock stream socket. Both
/// ends may send tasks; each grants the other so many at a time.
///
/// runtime/rpc/channel is not used: its calls have no credit and no cancellation, each is a
/// protobuf message of at most 4 MiB, and each is a write(2) of its own. Here the frames of one
/// round of the loop are one write, and payloads from kFileSize on go through memory files on unix
/// sockets.
///
/// A task that was sent has one result: the peer's, or Unavailable if the connection ends first.
/// The peer's credit bounds what waits here for its results, and what waits there to be run.
/// Thread: that of `loop`. A peer that breaks the protocol, or is silent, loses its connection.
class Connection {
public:
    static constexpr std::size_t kFileSize = 64U << 10U;

    struct Options {
        std::uint32_t credit = 0;  // tasks of the peer's at a time
        Duration heartbeat = std::chrono::milliseconds(100);
        PhiDetector::Options detector{};
    };
    struct Handlers {
        std::move_only_function<void(std::uint64_t id, std::string payload)> on_task;
        std::move_only_function<void(std::uint64_t id)> on_cancel;
        std::move_only_function<void(std::uint64_t id, Result<std::string> output)> on_result;
        /// There is credit again, or for the first time.
        std::move_only_function<void()> on_credit;
        /// Once, after a result for each task. Not after this went.
        std::move_only_function<void(const Error&)> on_closed;
    };

    /// No handler may destroy this.
    static Result<std::unique_ptr<Connection>> create(EventLoop& loop, Fd socket,
                                                      const Options& options, Handlers handlers);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    Connection(Connection&&) = delete;
    Connection& operator=(Connection&&) = delete;
    ~Connection() = default;

    /// How many tasks the peer accepts now.
    std::size_t credit() const { return is_open_ ? granted_ - sent_.size() : 0; }

    /// Errors: ResourceExhausted without credit, AlreadyExists for an id that is under way,
    /// OutOfRange above Frame::kPayloadMax bytes, Unavailable after the end.
    Result<void> send_task(std::uint64_t id, std::string payload);
    /// A task that has ended meanwhile is no error.
    void send_cancel(std::uint64_t id);
    /// Once for each on_task(), at any time. Dropped after the end.
    void send_result(std::uint64_t id, Result<std::string> output);

private:
    Connection(EventLoop& loop, Fd socket, const Options& options, Handlers handlers, bool is_unix);
    void send(const Frame& frame);
    void send_payload(Frame frame);
    void flush();
    void on_ready(std::uint32_t events);
    Result<void> receive();
    Result<void> take(Frame frame);
    Result<void> take_hello(const Frame& frame);
    Result<void> take_result(Frame frame);
    Result<std::string> payload_of(Frame& frame);
    void beat();
    void close(const Error& error);

    EventLoop& loop_;
    Fd socket_;
    Options options_;
    Handlers handlers_;
    bool is_unix_;
    bool is_open_ = true;
    bool has_hello_ = false;
    bool flushing_is_due_ = false;
    std::uint32_t granted_ = 0;       // by the peer
    std::set<std::uint64_t> sent_;    // tasks of ours without a result
    std::set<std::uint64_t> served_;  // tasks of the peer's without one
    FrameReader reader_;
    std::deque<Fd> received_fds_;
    std::string outgoing_;
    std::size_t outgoing_begin_ = 0;
    std::size_t written_ = 0;                              // bytes since the beginning
    std::deque<std::pair<std::size_t, Fd>> outgoing_fds_;  // and at which byte each goes
    PhiDetector detector_;
    EventLoop::Watch watch_;
    EventLoop::Timer flushing_;
    EventLoop::Timer beating_;
};

}  // namespace pepita::compute
