#include "vmm/vhost_user/front_end.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/vhost_user/message.h"

namespace pepita::vmm {
namespace {

using abi::VhostUserRequest;
using Clock = std::chrono::steady_clock;

// A server that stops a queue waits for what it has in flight.
constexpr std::chrono::seconds kAnswerDeadline(10);

// What our transport offers each driver, and so the server has to know.
constexpr std::uint64_t kNeeded =
    abi::kVirtioFVersion1 | abi::kVirtioFIndirectDesc | abi::kVirtioFEventIdx;

/// Where this process has a part of a ring. Errors: OutOfRange where the guest has no such memory.
Result<std::uint64_t> user_address(const virtio::GuestMemory& memory, virtio::GuestAddress at,
                                   std::size_t bytes) {
    const std::span<std::byte> part = TRY(memory.span_at(at, Bytes(bytes)));
    // SAFETY: a number for the server, which translates it back.
    return reinterpret_cast<std::uint64_t>(part.data());
}

Error no_answer(VhostUserRequest request, const std::string& why) {
    return {Code::InvalidArgument, "the answer to " + virtio::name_of(request) + " " + why};
}

}  // namespace

Result<VhostUserFrontEnd> VhostUserFrontEnd::create(Fd socket, const LentMemory& memory) {
    VhostUserFrontEnd front_end(std::move(socket), memory);
    TRY(front_end.greet(), "vhost-user server");
    return front_end;
}

Result<void> VhostUserFrontEnd::greet() {
    const std::uint64_t features = TRY(ask(VhostUserRequest::GetFeatures));
    constexpr std::uint64_t needed = kNeeded | abi::kVhostUserFProtocolFeatures;
    if ((features & needed) != needed) {
        return Error(Code::Unsupported, "has features " + std::to_string(features) +
                                            ", and not all of " + std::to_string(needed));
    }
    // None of them is needed; to say so is: without it queues start enabled.
    (void)TRY(ask(VhostUserRequest::GetProtocolFeatures));
    TRY(send(VhostUserRequest::SetProtocolFeatures, std::uint64_t{0}));
    return send(VhostUserRequest::SetOwner, std::span<const std::byte>());
}

Result<void> VhostUserFrontEnd::start(std::uint64_t features) {
    TRY(send(VhostUserRequest::SetFeatures, features | abi::kVhostUserFProtocolFeatures));
    const std::vector<abi::VhostUserMemoryRegion>& regions = memory_->regions;
    const abi::VhostUserMemoryHeader header{.count = static_cast<std::uint32_t>(regions.size()),
                                            .padding = 0};
    std::vector<std::byte> table(sizeof(header) +
                                 regions.size() * sizeof(abi::VhostUserMemoryRegion));
    std::memcpy(table.data(), &header, sizeof(header));
    std::ranges::copy(std::as_bytes(std::span(regions)), table.begin() + sizeof(header));
    const std::vector<FdRef> files(regions.size(), memory_->file);
    return send(VhostUserRequest::SetMemTable, std::span<const std::byte>(table), files);
}

Result<void> VhostUserFrontEnd::start_queue(std::uint16_t queue, const virtio::QueueSetup& setup,
                                            const Eventfds& eventfds) {
    (void)TRY(setup.open());  // checks the geometry
    const virtio::RingGeometry& ring = setup.geometry;
    const abi::VhostUserVringAddr address{
        .index = queue,
        .flags = 0,
        .descriptors =
            TRY(user_address(setup.memory, ring.descriptors, abi::virtq_desc_bytes(ring.size))),
        .used = TRY(user_address(setup.memory, ring.used, abi::virtq_used_bytes(ring.size))),
        .available =
            TRY(user_address(setup.memory, ring.available, abi::virtq_avail_bytes(ring.size))),
        .log = 0};
    const auto state = [queue](std::uint32_t number) {
        return abi::VhostUserVringState{.index = queue, .num = number};
    };
    const std::array call{eventfds.call};
    const std::array kick{eventfds.kick};
    TRY(send(VhostUserRequest::SetVringNum, state(ring.size)));
    TRY(send(VhostUserRequest::SetVringBase, state(ring.next)));
    TRY(send(VhostUserRequest::SetVringAddr, address));
    TRY(send(VhostUserRequest::SetVringCall, std::uint64_t{queue}, call));
    TRY(send(VhostUserRequest::SetVringKick, std::uint64_t{queue}, kick));
    return send(VhostUserRequest::SetVringEnable, state(1));
}

Result<std::uint16_t> VhostUserFrontEnd::stop_queue(std::uint16_t queue) {
    abi::VhostUserVringState state{.index = queue, .num = 0};
    TRY(send(VhostUserRequest::SetVringEnable, state));
    TRY(send(VhostUserRequest::GetVringBase, state));
    TRY(receive(VhostUserRequest::GetVringBase, std::as_writable_bytes(std::span(&state, 1))));
    if (state.index != queue || state.num > 0xffff) {
        return no_answer(VhostUserRequest::GetVringBase, "is for another queue");
    }
    return static_cast<std::uint16_t>(state.num);
}

Result<std::uint64_t> VhostUserFrontEnd::ask(VhostUserRequest request) {
    std::uint64_t value = 0;
    TRY(send(request, std::span<const std::byte>()));
    TRY(receive(request, std::as_writable_bytes(std::span(&value, 1))));
    return value;
}

// The socket has room for all that is said between two answers. A server that leaves it full is
// broken.
Result<void> VhostUserFrontEnd::send(VhostUserRequest request, std::span<const std::byte> payload,
                                     std::span<const FdRef> fds) {
    const abi::VhostUserHeader header{.request = std::to_underlying(request),
                                      .flags = abi::kVhostUserVersion,
                                      .size = static_cast<std::uint32_t>(payload.size())};
    std::vector<std::byte> message(sizeof(header) + payload.size());
    std::memcpy(message.data(), &header, sizeof(header));
    std::ranges::copy(payload, message.begin() + sizeof(header));
    if (TRY(send_some(socket_.ref(), message, fds), virtio::name_of(request)) != message.size()) {
        return Error(Code::Unavailable, "the vhost-user server does not read its requests");
    }
    return {};
}

Result<void> VhostUserFrontEnd::receive(VhostUserRequest request, std::span<std::byte> payload) {
    abi::VhostUserHeader header{};
    TRY(fill(std::as_writable_bytes(std::span(&header, 1))), virtio::name_of(request));
    if (header.request != std::to_underlying(request) ||
        (header.flags & (abi::kVhostUserVersionMask | abi::kVhostUserReply)) !=
            (abi::kVhostUserVersion | abi::kVhostUserReply)) {
        return no_answer(request, "is none");
    }
    if (header.size != payload.size()) {
        return no_answer(request, "has " + std::to_string(header.size) + " B where " +
                                      std::to_string(payload.size()) + " are due");
    }
    TRY(fill(payload), virtio::name_of(request));
    return {};
}

Result<void> VhostUserFrontEnd::fill(std::span<std::byte> into) {
    const Clock::time_point deadline = Clock::now() + kAnswerDeadline;
    while (!into.empty()) {
        const Result<Received> received = receive_some(socket_.ref(), into);  // no descriptor stays
        if (received) {
            if (received->size == 0) {
                return Error(Code::Unavailable, "the vhost-user server closed its connection");
            }
            into = into.subspan(received->size);
            continue;
        }
        if (received.error().sys_errno() != EAGAIN && received.error().sys_errno() != EINTR) {
            return Error(received.error().code(), received.error().message());
        }
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        pollfd readable{.fd = socket_.ref().number(), .events = POLLIN, .revents = 0};
        if (left.count() <= 0 ||
            (::poll(&readable, 1, static_cast<int>(left.count())) < 0 && errno != EINTR)) {
            return Error(Code::DeadlineExceeded, "the vhost-user server does not answer");
        }
    }
    return {};
}

}  // namespace pepita::vmm
