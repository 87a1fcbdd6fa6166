#include "test/support/vhost_user_front.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/virtio/ring.h"
#include "test/support/driver.h"

namespace pepita::test {

using enum abi::VhostUserRequest;

namespace {

// Only a hang gets here.
constexpr int kPatienceMs = 60'000;

void wait_for(FdRef fd) {
    pollfd waiting{.fd = fd.number(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&waiting, 1, kPatienceMs) == 1);
}

}  // namespace

void await_eventfd(const Fd& eventfd) { wait_for(eventfd.ref()); }

Fd make_eventfd() {
    Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    CHECK(fd);
    return fd;
}

void signal_eventfd(const Fd& eventfd) {
    const std::uint64_t one = 1;
    CHECK(::write(eventfd.ref().number(), &one, sizeof(one)) == sizeof(one));
}

std::uint64_t drain_eventfd(const Fd& eventfd) {
    std::uint64_t count = 0;
    return ::read(eventfd.ref().number(), &count, sizeof(count)) == sizeof(count) ? count : 0;
}

void VhostUserFront::run() {
    for (int i = 0; i < 3; ++i) {
        loop_.run_once(std::chrono::milliseconds(0)).value();
    }
}

void VhostUserFront::send_bytes(std::span<const std::byte> bytes, std::span<const FdRef> fds) {
    // A back end that has gone is what some tests are after: the failure is theirs to see.
    (void)send_some(socket_.ref(), bytes, fds).has_value();
    run();
}

void VhostUserFront::send(abi::VhostUserRequest request, std::span<const std::byte> payload,
                          std::span<const FdRef> fds, std::uint32_t flags) {
    const abi::VhostUserHeader header{.request = std::to_underlying(request),
                                      .flags = flags,
                                      .size = static_cast<std::uint32_t>(payload.size())};
    std::vector<std::byte> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    if (!payload.empty()) {
        std::memcpy(bytes.data() + sizeof(header), payload.data(), payload.size());
    }
    send_bytes(bytes, fds);
}

std::optional<VhostUserFront::Reply> VhostUserFront::receive() {
    run();
    std::array<std::byte, 1024> bytes{};
    Reply reply;
    auto header = receive_some(socket_.ref(), std::span(bytes).first(sizeof(reply.header)));
    if (!header || header->size != sizeof(reply.header)) {
        return std::nullopt;
    }
    std::memcpy(&reply.header, bytes.data(), sizeof(reply.header));
    reply.fds = std::move(header->fds);
    if (reply.header.size > 0) {
        wait_for(socket_.ref());  // QEMU sends the two parts one after the other
        const auto payload = receive_some(socket_.ref(), std::span(bytes).first(reply.header.size));
        CHECK(payload.has_value());
        CHECK(payload->size == reply.header.size);
        reply.payload.assign(bytes.begin(), bytes.begin() + reply.header.size);
    }
    return reply;
}

std::optional<VhostUserFront::Reply> VhostUserFront::await() {
    wait_for(socket_.ref());
    return receive();
}

std::uint64_t VhostUserFront::ask_u64(abi::VhostUserRequest request) {
    send(request, {});
    const std::optional<Reply> reply = receive();
    return reply ? reply->as<std::uint64_t>() : 0;
}

void VhostUserFront::share(const GuestRam& ram) {
    struct Table {
        abi::VhostUserMemoryHeader header;
        abi::VhostUserMemoryRegion region;
    };
    const std::array fds{ram.fd()};
    send(SetMemTable,
         Table{.header = {.count = 1, .padding = 0},
               .region = {.guest_address = 0,
                          .size = ram.bytes().size(),
                          .user_address = kUserBase,
                          .file_offset = 0}},
         fds);
}

abi::VhostUserVringAddr VhostUserFront::addresses_of(const QueueDriver& queue,
                                                     std::uint32_t index) {
    const virtio::RingGeometry& geometry = queue.geometry();
    return {.index = index,
            .flags = 0,
            .descriptors = kUserBase + std::to_underlying(geometry.descriptors),
            .used = kUserBase + std::to_underlying(geometry.used),
            .available = kUserBase + std::to_underlying(geometry.available),
            .log = 0};
}

VhostUserFront::QueueFds VhostUserFront::start_queue(const QueueDriver& queue,
                                                     std::uint32_t index) {
    QueueFds fds{.kick = make_eventfd(), .call = make_eventfd()};
    const std::array kick{fds.kick.ref()};
    const std::array call{fds.call.ref()};
    send(SetVringNum, abi::VhostUserVringState{.index = index, .num = queue.geometry().size});
    send(SetVringBase, abi::VhostUserVringState{.index = index, .num = queue.geometry().next});
    send(SetVringAddr, addresses_of(queue, index));
    send(SetVringKick, std::uint64_t{index}, kick);
    send(SetVringCall, std::uint64_t{index}, call);
    send(SetVringEnable, abi::VhostUserVringState{.index = index, .num = 1});
    return fds;
}

std::uint32_t VhostUserFront::stop_queue(std::uint32_t index) {
    send(GetVringBase, abi::VhostUserVringState{.index = index, .num = 0});
    const std::optional<Reply> reply = receive();
    return reply ? reply->as<abi::VhostUserVringState>().num : ~0U;
}

}  // namespace pepita::test
