#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "cri/streaming.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Requests that wait for their client, each under a random name that works once.
class TokenTable {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kWaitingMax = 1000;

    explicit TokenTable(Clock::duration lifetime) : lifetime_(lifetime) {}

    /// Errors: ResourceExhausted where kWaitingMax wait.
    Result<std::string> put(StreamRequest request, Clock::time_point now);
    std::optional<StreamRequest> take(const std::string& token, Clock::time_point now);

private:
    void drop_expired(Clock::time_point now);

    Clock::duration lifetime_;
    std::map<std::string, StreamRequest> waiting_;
    std::deque<std::pair<Clock::time_point, std::string>> expiries_;  // oldest first
};

}  // namespace pepita::cri
