#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/channel.h"

// A peer that says anything at all to a channel that serves calls and has one of its own open.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using pepita::EventLoop;
    using pepita::socket_pair;
    namespace runtime = pepita::runtime;
    const auto loop = EventLoop::create();
    auto pair = socket_pair();
    auto channel = runtime::Channel::create(
        **loop, std::move(pair->first),
        {.on_call =
             [](runtime::Channel::Call call) { call.responder.respond(std::move(call.payload)); },
         .on_closed = {}});
    (*channel)->call("s", "m", "", {}, [](const auto&) {});
    (void)pepita::send_some(pair->second.ref(), std::as_bytes(std::span(data, size))).has_value();
    for (int round = 0; round < 4; ++round) {
        (void)(*loop)->run_once(std::chrono::seconds(0)).has_value();
    }
    return 0;
}
