#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "kernel-abi/virtio/vhost_user/inflight.h"
#include "test/support/driver.h"
#include "test/support/vhost_user_front.h"
#include "vmm/entropy/device.h"

// A front end that says anything, with any descriptors, before and after a queue runs.

namespace {

using namespace pepita;  // NOLINT(google-build-using-namespace): one subject.
using enum abi::VhostUserRequest;

struct Front {
    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    test::GuestRam ram{64_KiB};
    Fd event = test::make_eventfd();
    virtio::InflightRegions::Made books = *virtio::InflightRegions::make(1, 8);
    vmm::Entropy device{*loop};
    std::unique_ptr<virtio::VhostUserTransport> transport;
    std::unique_ptr<test::VhostUserFront> front;

    Front() {
        auto [ours, theirs] = *socket_pair();
        transport = *virtio::VhostUserTransport::create(*loop, std::move(ours), device,
                                                        [this](const Error&) { transport.reset(); },
                                                        {.tracks_in_flight = true});
        front = std::make_unique<test::VhostUserFront>(*loop, std::move(theirs));
    }

    // What a killed back end would have left behind.
    void leave_books(std::span<const std::byte> text) {
        const auto mapped = Mapping::shared(books.file.ref(), Bytes(books.description.mmap_size));
        std::ranges::copy(text.first(std::min(text.size(), mapped->bytes().size())),
                          mapped->bytes().begin());
        const std::array file{books.file.ref()};
        front->send(SetProtocolFeatures, abi::kVhostUserProtocolInflightShmfd);
        front->send(SetInflightFd, books.description, file);
    }

    void start_one_queue() {
        if (transport == nullptr) {
            return;
        }
        test::QueueDriver queue(ram);
        front->send(SetFeatures, (1ULL << 32U) | abi::kVhostUserFProtocolFeatures);
        front->share(ram);
        (void)front->start_queue(queue, 0);
    }

    // The message as it stands; `fds` chooses what comes beside it.
    void say(std::uint8_t request, std::uint8_t flags, std::uint8_t fds,
             std::span<const std::byte> payload) {
        const std::array kinds{ram.fd(), event.ref(), FdRef(STDERR_FILENO), books.file.ref()};
        std::vector<FdRef> chosen;
        for (int i = 0; i < fds % 11; ++i) {
            chosen.push_back(kinds.at(static_cast<std::size_t>(fds / 11 + i) % kinds.size()));
        }
        const auto all_flags = static_cast<std::uint32_t>(flags % 16 == 0 ? flags : flags | 1U);
        front->send(abi::VhostUserRequest{request % 36U}, payload, chosen, all_flags & ~6U);
        while (front->receive()) {}
    }
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
    (void)std::signal(SIGPIPE, SIG_IGN);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Front front;
    std::span<const std::byte> rest = std::as_bytes(std::span(data, size));
    if (!rest.empty() && std::to_integer<int>(rest[0]) % 4 == 2) {
        front.leave_books(rest.subspan(1));
    }
    if (!rest.empty() && std::to_integer<int>(rest[0]) % 2 == 0) {
        front.start_one_queue();
    }
    while (rest.size() >= 4 && front.transport != nullptr) {
        std::array<std::uint8_t, 4> head{};
        std::memcpy(head.data(), rest.data(), head.size());
        const std::size_t length = std::min<std::size_t>(head[3], rest.size() - head.size());
        front.say(head[0], head[1], head[2], rest.subspan(head.size(), length));
        rest = rest.subspan(head.size() + length);
    }
    // Raw, not even framed.
    if (front.transport != nullptr && !rest.empty()) {
        front.front->send_bytes(rest);
    }
    return 0;
}
