#include <sys/socket.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "kernel-abi/virtio/vhost_user/inflight.h"
#include "kernel-abi/virtio/vhost_user/memory.h"
#include "kernel-abi/virtio/vhost_user/message.h"

// What outlives single queues: the channel back to the front end, and the books of what is in
// flight.

namespace pepita::virtio {
namespace {

using enum abi::VhostUserRequest;

Result<abi::VhostUserInflight> inflight_of(const VhostUserMessage& message) {
    const std::size_t size = message.payload.size();
    if (size != abi::kVhostUserInflightUnpadded && size != sizeof(abi::VhostUserInflight)) {
        return Error(Code::InvalidArgument,
                     "payload has " + std::to_string(size) + " B where 24 are due");
    }
    abi::VhostUserInflight inflight{};
    std::memcpy(&inflight, message.payload.data(), size);
    return inflight;
}

/// Not by fstat(2): of another program's file (FUSE) it may wait for that.
bool is_socket(FdRef fd) {
    std::byte byte{};
    return ::recv(fd.number(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != ENOTSOCK;
}

/// QEMU 7.2 asks for the configuration amid other words if it hears of it while it waits for one of
/// our answers, as it does when it starts queues. It has done so by then.
constexpr std::chrono::milliseconds kUntilStarted{200};

}  // namespace

void VhostUserTransport::begin_session(const VhostUserMemory& memory) {
    if (std::exchange(in_session_, true)) {
        return;
    }
    device_.start({.memory = memory.guest(),
                   .features = features_ & ~abi::kVhostUserFProtocolFeatures,
                   .notifier = calls_});
    // A front end that was without a back end may have missed a change, and QEMU does not look.
    if (inflight_) {
        news_ = loop_.after(kUntilStarted, [this] { calls_.config_changed(); });
    }
}

void VhostUserTransport::end_session() {
    news_.cancel();
    for (Queue& queue : queues_) {
        queue.kick_watch.cancel();
        queue.running = false;
    }
    if (std::exchange(in_session_, false)) {
        device_.reset();
    }
}

Result<void> VhostUserTransport::set_backend_channel(VhostUserMessage& message) {
    if ((protocol_features_ & abi::kVhostUserProtocolBackendReq) == 0) {
        return Error(Code::Unsupported, "it was not agreed upon");
    }
    if (message.fds.size() != 1 || !is_socket(message.fds[0].ref())) {
        return Error(Code::InvalidArgument,
                     std::to_string(message.fds.size()) + " descriptors came, not one socket");
    }
    TRY(set_nonblocking(message.fds[0].ref()));
    backend_channel_ = std::move(message.fds[0]);
    return {};
}

Result<void> VhostUserTransport::get_inflight(const VhostUserMessage& message) {
    const abi::VhostUserInflight wanted = TRY(inflight_of(message));
    if ((protocol_features_ & abi::kVhostUserProtocolInflightShmfd) == 0) {
        return Error(Code::Unsupported, "it was not agreed upon");
    }
    if (wanted.num_queues == 0 || wanted.num_queues > queues_.size() ||
        !std::has_single_bit(wanted.queue_size) || wanted.queue_size > abi::kVirtqSizeMax) {
        return Error(Code::OutOfRange, std::to_string(wanted.num_queues) + " queues of " +
                                           std::to_string(wanted.queue_size) +
                                           " descriptors; there are " +
                                           std::to_string(queues_.size()));
    }
    const InflightRegions::Made made =
        TRY(InflightRegions::make(wanted.num_queues, wanted.queue_size));
    const FdRef file = made.file.ref();
    return reply(GetInflightFd,
                 std::as_bytes(std::span(&made.description, 1)).first(message.payload.size()),
                 {&file, 1});
}

Result<void> VhostUserTransport::set_inflight(const VhostUserMessage& message) {
    const abi::VhostUserInflight description = TRY(inflight_of(message));
    if ((protocol_features_ & abi::kVhostUserProtocolInflightShmfd) == 0) {
        return Error(Code::Unsupported, "it was not agreed upon");
    }
    if (any_running()) {
        return Error(Code::FailedPrecondition, "queues are running");
    }
    if (message.fds.size() != 1) {
        return Error(Code::InvalidArgument,
                     std::to_string(message.fds.size()) + " descriptors came with it");
    }
    if (description.num_queues > queues_.size() || description.queue_size > abi::kVirtqSizeMax) {
        return Error(Code::OutOfRange, std::to_string(description.num_queues) + " queues of " +
                                           std::to_string(description.queue_size) +
                                           " descriptors; there are " +
                                           std::to_string(queues_.size()));
    }
    inflight_ = TRY(InflightRegions::map(message.fds[0].ref(), description));
    return {};
}

}  // namespace pepita::virtio
