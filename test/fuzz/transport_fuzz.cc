#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "compute/transport/connection.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/socket.h"

// A peer that says anything at all to a connection that serves two tasks at a time, and sends one
// of its own as soon as it may.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using pepita::EventLoop;
    using pepita::Result;
    namespace compute = pepita::compute;
    const auto loop = EventLoop::create();
    auto pair = pepita::socket_pair();
    std::unique_ptr<compute::Connection> connection;
    std::size_t results = 0;
    bool is_sent = false;
    connection = *compute::Connection::create(
        **loop, std::move(pair->first), {.credit = 2},
        {.on_task =
             [&](std::uint64_t id, std::string payload) {
                 if (id % 2 == 0) {
                     connection->send_result(id, std::move(payload));
                 }
             },
         .on_cancel =
             [&](std::uint64_t id) {
                 connection->send_result(id, pepita::Error(pepita::Code::Cancelled, "cancelled"));
             },
         .on_result = [&](std::uint64_t, const Result<std::string>&) { ++results; },
         .on_credit = [&] { is_sent = is_sent || connection->send_task(1, "task").has_value(); },
         .on_closed = [](const pepita::Error&) {}});
    (void)pepita::send_some(pair->second.ref(), std::as_bytes(std::span(data, size))).has_value();
    pair->second = pepita::Fd();
    for (int round = 0; round < 8; ++round) {
        (void)(*loop)->run_once(std::chrono::seconds(0)).has_value();
    }
    if (results > 1 || (is_sent && connection->credit() != 0 && results == 0)) {
        __builtin_trap();  // a task has one result
    }
    return 0;
}
