#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/guest_api.h"
#include "runtime/rpc/channel.h"
#include "test/support/fake_guest_service.h"

// A host that asks the guest anything at all: the first byte chooses the method, the rest is the
// payload.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace runtime = pepita::runtime;
    static const std::array<std::string, 20> kMethods{
        "Describe",    "Create",     "Start",  "Exec",     "Signal",           "Wait",    "Resize",
        "Delete",      "CloseStdin", "Nobody", "Shutdown", "Rescan",           "Release", "Stats",
        "AdjustClock", "Pause",      "Resume", "Update",   "ConfigureNetwork", "Dial"};
    if (size == 0) {
        return 0;
    }
    pepita::test::FakeGuestService service;
    const auto payload = std::span(data, size).subspan(1);
    runtime::dispatch(service, {.service = "pepita.guest.v1.Guest",
                                .method = kMethods[data[0] % kMethods.size()],
                                .payload = std::string(payload.begin(), payload.end()),
                                .fds = {},
                                .responder = runtime::Channel::Responder({}, 1)});
    return 0;
}
