#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/rpc/channel.h"
#include "runtime/sandbox_api.h"
#include "test/support/fake_sandbox_service.h"

// A client that asks for anything at all about the pod: the first byte chooses the method, the rest
// is the payload.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace runtime = pepita::runtime;
    static const std::array<std::string, 10> kMethods{
        "CreateSandbox", "StartSandbox", "Platform",        "StopSandbox",    "WaitSandbox",
        "SandboxStatus", "PingSandbox",  "ShutdownSandbox", "SandboxMetrics", "Nobody"};
    if (size == 0) {
        return 0;
    }
    pepita::test::FakeSandboxService service;
    const auto payload = std::span(data, size).subspan(1);
    runtime::dispatch(service, {.service = "containerd.runtime.sandbox.v1.Sandbox",
                                .method = kMethods[data[0] % kMethods.size()],
                                .payload = std::string(payload.begin(), payload.end()),
                                .fds = {},
                                .responder = runtime::Channel::Responder({}, 1)});
    return 0;
}
