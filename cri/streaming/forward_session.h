#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cri/streaming.h"
#include "cri/streaming/fd_ends.h"
#include "cri/streaming/framing.h"
#include "cri/streaming/session.h"
#include "cri/streaming/websocket.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Port-forward: for each connection of the client's user a pair of streams, data and error, joined
/// with a connection to a port of the pod.
class ForwardSession final : public Session {
public:
    struct Options {
        std::string pod_id;
        std::chrono::milliseconds pair_timeout;
    };

    /// `wire` and `target` outlive the session.
    ForwardSession(EventLoop& loop, Wire& wire, StreamTarget& target, Options options);
    ~ForwardSession() override;
    ForwardSession(const ForwardSession&) = delete;
    ForwardSession& operator=(const ForwardSession&) = delete;
    ForwardSession(ForwardSession&&) = delete;
    ForwardSession& operator=(ForwardSession&&) = delete;

    /// Two channels for each port, for WebSocket clients that have no SPDY.
    static std::vector<ChannelFraming::Channel> channels(const std::vector<std::uint16_t>& ports);

    void on_open(StreamId id, const StreamHeaders& headers) override;
    void on_data(StreamId id, std::span<const std::byte> bytes) override;
    void on_finish(StreamId id) override;
    void on_reset(StreamId id) override;
    bool can_take() const override;
    void on_room() override;

private:
    struct Pair;
    using Pairs = std::map<std::string, std::unique_ptr<Pair>, std::less<>>;

    Pair* pair_of(StreamId id);
    void connect(Pair& pair);
    void on_connected(const std::string& request, Result<Fd> socket);
    Result<void> join(Pair& pair, Fd socket);
    void fail(Pair& pair, const std::string& message);
    void finish_if_both(Pair& pair);
    void remove_soon(Pair& pair);

    EventLoop& loop_;
    Wire& wire_;
    StreamTarget& target_;
    Options options_;
    Pairs pairs_;
    // The target's callbacks hold it weakly: they may come after the client has gone.
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace pepita::cri
