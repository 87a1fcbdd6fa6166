#include <fcntl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "runtime/pod_api.h"
#include "runtime/rpc/channel.h"
#include "test/support/fake_pod_service.h"

// A client that asks for anything at all about streams: the first byte chooses the method and how
// many descriptors come along, the rest is the payload.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace runtime = pepita::runtime;
    static const std::array<std::string, 4> kMethods{"ReopenLog", "Attach", "Connect", "Nobody"};
    if (size == 0) {
        return 0;
    }
    std::vector<pepita::Fd> fds;
    for (std::size_t count = data[0] / kMethods.size() % 4; count > 0; --count) {
        if (auto null = pepita::open_file("/dev/null", O_RDWR)) {
            fds.push_back(*std::move(null));
        }
    }
    pepita::test::FakePodService service;
    const auto payload = std::span(data, size).subspan(1);
    runtime::dispatch(service, {.service = "pepita.pod.v1.Pod",
                                .method = kMethods[data[0] % kMethods.size()],
                                .payload = std::string(payload.begin(), payload.end()),
                                .fds = std::move(fds),
                                .responder = runtime::Channel::Responder({}, 1)});
    return 0;
}
