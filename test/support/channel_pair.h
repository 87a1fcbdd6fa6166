#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/channel.h"

namespace pepita::test {

/// Two channels that are connected, on one loop: for tests of what is said over them.
class ChannelPair {
public:
    explicit ChannelPair(std::move_only_function<void(runtime::Channel::Call)> serve) {
        auto [ours, theirs] = *socket_pair();
        client = *runtime::Channel::create(*loop, std::move(ours), {});
        server = *runtime::Channel::create(*loop, std::move(theirs),
                                           {.on_call = std::move(serve), .on_closed = {}});
    }

    /// Calls `ask` with the callback that is to get the answer, and waits for it.
    template <typename T, typename Ask>
    Result<T> answer(Ask ask) {
        std::optional<Result<T>> got;
        ask([&got](Result<T> result) { got.emplace(std::move(result)); });
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!got && std::chrono::steady_clock::now() < deadline) {
            EXPECT_TRUE(loop->run_once(std::chrono::milliseconds(100)).has_value());
        }
        return std::move(got).value();
    }

    /// The answer to bytes that no client of ours would send.
    Result<std::string> raw(const std::string& service, const std::string& method,
                            const std::string& payload) {
        return answer<std::string>(
            [&](auto done) { client->call(service, method, payload, {}, std::move(done)); });
    }

    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    std::shared_ptr<runtime::Channel> client;
    std::shared_ptr<runtime::Channel> server;
};

}  // namespace pepita::test
