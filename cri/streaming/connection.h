#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "cri/streaming/framing.h"
#include "cri/streaming/http_server.h"
#include "cri/streaming/session.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// One client: its socket, the framing of its streams, and the session behind them. It holds at
/// most kOutputMax (and one message) for a client that does not read, and reads from the client
/// only while the session takes and the answers go out: so neither side can make it grow.
class Connection final : private Wire {
public:
    static constexpr std::size_t kOutputMax = std::size_t{256} * 1024;
    static constexpr std::size_t kInputSize = std::size_t{64} * 1024;

    struct Options {
        std::chrono::milliseconds idle_timeout;
        std::chrono::milliseconds linger_timeout;  // for the client's close at the end
    };
    using MakeSession = std::move_only_function<std::unique_ptr<Session>(Wire&)>;
    using OnDone = std::move_only_function<void()>;

    /// `on_done` is called once, and not from within: it may destroy the connection.
    Connection(EventLoop& loop, Options options, OnDone on_done);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    Connection(Connection&&) = delete;
    Connection& operator=(Connection&&) = delete;
    ~Connection() override;

    Result<void> start(UpgradedSocket socket, std::string_view early,
                       std::unique_ptr<Framing> framing, MakeSession make_session);

private:
    enum class Stage : std::uint8_t { Open, Lingering, Done };

    void accept(StreamId id) override;
    void send(StreamId id, std::span<const std::byte> bytes) override;
    void finish(StreamId id) override;
    void reset(StreamId id) override;
    bool has_room() const override { return queued() < kOutputMax; }
    void update() override;
    void end() override;

    std::size_t queued() const;
    void on_ready(std::uint32_t events);
    void read_some();
    void feed(std::span<const std::byte> bytes);
    void write_some();
    void linger();
    void done();
    void watch_idleness();

    EventLoop& loop_;
    Options options_;
    OnDone on_done_;
    std::unique_ptr<UpgradedSocket> socket_;
    std::unique_ptr<Framing> framing_;
    std::unique_ptr<Session> session_;
    EventLoop::Watch watch_;
    EventLoop::Timer timer_;  // idleness, then lingering
    EventLoop::Timer ending_;
    EventLoop::Timer done_;
    EventLoop::Clock::time_point last_use_ = EventLoop::Clock::now();
    Stage stage_ = Stage::Open;
    std::size_t sent_ = 0;  // of framing_->output()
    std::uint32_t waited_for_ = 0;
    bool is_ending_ = false;
};

}  // namespace pepita::cri
