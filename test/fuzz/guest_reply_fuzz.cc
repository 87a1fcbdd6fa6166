#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/channel.h"

namespace {

namespace runtime = pepita::runtime;

template <typename T>
runtime::OnResult<T> counted(int& answers) {
    return [&answers](pepita::Result<T>) { ++answers; };
}

// One request of the shim's, by number; `answers` counts what comes back.
void ask(runtime::GuestClient& guest, unsigned which, int& answers) {
    const runtime::ProcessId id{.container = "web", .exec = ""};
    switch (which % 7) {
        case 0:
            return guest.describe(std::chrono::seconds(1),
                                  counted<runtime::GuestDescription>(answers));
        case 1:
            return guest.create({}, counted<runtime::StreamNumbers>(answers));
        case 2:
            return guest.start(id, counted<runtime::Started>(answers));
        case 3:
            return guest.wait(id, counted<std::uint32_t>(answers));
        case 4:
            return guest.stats("web", counted<runtime::ContainerStats>(answers));
        case 5:
            return guest.dial(80, counted<std::uint64_t>(answers));
        default:
            return guest.adjust_clock({}, counted<std::chrono::nanoseconds>(answers));
    }
}

}  // namespace

// A guest that replies anything at all to the shim: the first byte chooses the request, the rest is
// the payload of the response.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const auto bytes = std::span(data, size).subspan(1);
    std::string payload(bytes.begin(), bytes.end());
    const auto loop = pepita::EventLoop::create();
    auto pair = pepita::socket_pair();
    const auto server =
        runtime::Channel::create(**loop, std::move(pair->first),
                                 {.on_call =
                                      [&payload](runtime::Channel::Call call) {
                                          call.responder.respond(std::move(payload));
                                      },
                                  .on_closed = {}});
    const auto client = runtime::Channel::create(**loop, std::move(pair->second), {});
    runtime::GuestClient guest(*client);
    int answers = 0;
    ask(guest, data[0], answers);
    for (int round = 0; round < 8 && answers == 0; ++round) {
        (void)(*loop)->run_once(std::chrono::milliseconds(1)).has_value();
    }
    CHECK(answers == 1);
    return 0;
}
