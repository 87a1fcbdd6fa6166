#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "kernel-abi/virtio/vhost_user/inflight.h"
#include "kernel-abi/virtio/vhost_user/memory.h"
#include "kernel-abi/virtio/vhost_user/message.h"

// The messages about single queues, and a queue's way from words to a running ring.

namespace pepita::virtio {
namespace {

using enum abi::VhostUserRequest;

Result<RingGeometry> geometry_of(const VhostUserMemory& memory,
                                 const abi::VhostUserVringAddr& address, RingGeometry geometry) {
    geometry.descriptors = TRY(memory.to_guest(address.descriptors), "descriptor table");
    geometry.available = TRY(memory.to_guest(address.available), "available ring");
    geometry.used = TRY(memory.to_guest(address.used), "used ring");
    return geometry;
}

}  // namespace

Result<void> VhostUserTransport::dispatch_vring(VhostUserMessage& message) {
    if (message.request == SetVringNum) {
        return set_vring_num(message);
    }
    if (message.request == SetVringBase) {
        return set_vring_base(message);
    }
    if (message.request == GetVringBase) {
        return get_vring_base(message);
    }
    if (message.request == SetVringAddr) {
        return set_vring_addr(message);
    }
    if (message.request == SetVringEnable) {
        return set_vring_enable(message);
    }
    return set_vring_fd(message);
}

Result<std::uint16_t> VhostUserTransport::queue_index(std::uint64_t index) const {
    if (index >= queues_.size()) {
        return Error(Code::OutOfRange,
                     "queue " + std::to_string(index) + " of " + std::to_string(queues_.size()));
    }
    return static_cast<std::uint16_t>(index);
}

Result<VhostUserTransport::Queue*> VhostUserTransport::idle_queue(std::uint64_t index) {
    Queue& queue = queues_[TRY(queue_index(index))];
    if (queue.running) {
        return Error(Code::FailedPrecondition, "queue " + std::to_string(index) + " is running");
    }
    return &queue;
}

Result<void> VhostUserTransport::set_vring_num(const VhostUserMessage& message) {
    const auto state = TRY(message.as<abi::VhostUserVringState>());
    Queue& queue = *TRY(idle_queue(state.index));
    const std::uint16_t limit = device_.queue_sizes()[state.index];
    if (state.num == 0 || state.num > limit) {
        return Error(Code::OutOfRange, "queue " + std::to_string(state.index) + " of size " +
                                           std::to_string(state.num) + ", limit " +
                                           std::to_string(limit));
    }
    queue.size = static_cast<std::uint16_t>(state.num);
    return {};
}

Result<void> VhostUserTransport::set_vring_base(const VhostUserMessage& message) {
    const auto state = TRY(message.as<abi::VhostUserVringState>());
    Queue& queue = *TRY(idle_queue(state.index));
    if (state.num > std::numeric_limits<std::uint16_t>::max()) {
        return Error(Code::OutOfRange, "available index " + std::to_string(state.num));
    }
    queue.next = static_cast<std::uint16_t>(state.num);
    return {};
}

Result<void> VhostUserTransport::get_vring_base(const VhostUserMessage& message) {
    auto state = TRY(message.as<abi::VhostUserVringState>());
    const std::uint16_t index = TRY(queue_index(state.index));
    stop(index);
    queues_[index].kick_watch.cancel();
    queues_[index].kick = Fd();  // a start takes a new one
    state.num = queues_[index].next;
    return reply(GetVringBase, std::as_bytes(std::span(&state, 1)));
}

Result<void> VhostUserTransport::set_vring_addr(const VhostUserMessage& message) {
    const auto address = TRY(message.as<abi::VhostUserVringAddr>());
    Queue& queue = *TRY(idle_queue(address.index));
    queue.address = address;
    return {};
}

Result<void> VhostUserTransport::set_vring_enable(const VhostUserMessage& message) {
    const auto state = TRY(message.as<abi::VhostUserVringState>());
    const std::uint16_t index = TRY(queue_index(state.index));
    if (state.num > 1) {
        return Error(Code::InvalidArgument, std::to_string(state.num) + " is neither on nor off");
    }
    queues_[index].enabled = state.num == 1;
    if (!queues_[index].enabled) {
        stop(index);
        return {};
    }
    return start_if_ready(index);
}

Result<void> VhostUserTransport::set_vring_fd(VhostUserMessage& message) {
    const auto value = TRY(message.as<std::uint64_t>());
    const std::uint16_t index = TRY(queue_index(value & abi::kVhostUserVringIndexMask));
    const bool has_fd = (value & abi::kVhostUserVringNoFd) == 0;
    if (message.fds.size() != (has_fd ? 1U : 0U)) {
        return Error(Code::InvalidArgument,
                     std::to_string(message.fds.size()) + " descriptors came with it");
    }
    Fd fd = has_fd ? std::move(message.fds[0]) : Fd();
    if (has_fd) {
        TRY(check_lent_eventfd(fd.ref()));
        TRY(set_nonblocking(fd.ref()));  // which the front end can undo
    }
    Queue& queue = queues_[index];
    if (message.request == SetVringCall) {
        queue.call = std::move(fd);
        if (queue.running) {
            calls_.queue_used(index);  // what was signalled to the last one may not have been seen
        }
        return {};
    }
    if (message.request == SetVringErr) {
        queue.error = std::move(fd);
        return {};
    }
    if (!has_fd) {
        return Error(Code::Unsupported, "a queue without kicks would have to be polled");
    }
    Queue& idle = *TRY(idle_queue(index));
    idle.kick_watch.cancel();
    idle.kick = std::move(fd);
    return start_if_ready(index);
}

Result<void> VhostUserTransport::start_if_ready(std::uint16_t index) {
    Queue& queue = queues_[index];
    // Without protocol features there is no message that enables a queue.
    const bool enabled = queue.enabled || (features_ & abi::kVhostUserFProtocolFeatures) == 0;
    if (!enabled || !queue.kick || queue.running) {
        return {};
    }
    const std::string name = "queue " + std::to_string(index);
    if (!memory_ || queue.size == 0 || !queue.address) {
        return Error(Code::FailedPrecondition, name + " has no memory, size or addresses");
    }
    if ((features_ & abi::kVirtioFVersion1) == 0) {
        return Error(Code::FailedPrecondition, "the driver did not accept VIRTIO_F_VERSION_1");
    }
    std::optional<InflightQueue> inflight;
    if (inflight_) {
        inflight = TRY(inflight_->queue(index), name);
    }
    const RingGeometry geometry =
        TRY(geometry_of(*memory_, *queue.address, {.size = queue.size, .next = queue.next}), name);
    if (!queue.kick_watch) {
        queue.kick_watch = TRY(loop_.watch(queue.kick.ref(), EPOLLIN,
                                           [this, index](std::uint32_t) { on_kick(index); }),
                               name, " kick descriptor");
    }
    begin_session(*memory_);
    queue.running = true;
    const auto inherited = device_.start_queue(index, {.memory = memory_->guest(),
                                                       .geometry = geometry,
                                                       .features = features_,
                                                       .inflight = inflight});
    if (!inherited) {
        queue.running = false;
        return Error(inherited.error().code(), name + ": " + inherited.error().message());
    }
    if (*inherited > 0) {
        log::info("requests of a killed back end are served again",
                  {{"queue", index}, {"requests", *inherited}});
    }
    if (inflight_) {
        calls_.queue_used(index);  // who was killed may have completed something, and said nothing
    }
    return {};
}

void VhostUserTransport::stop(std::uint16_t index) {
    Queue& queue = queues_[index];
    if (std::exchange(queue.running, false)) {
        queue.kick_watch.cancel();
        queue.next = device_.stop_queue(index);
    }
}

std::vector<std::uint16_t> VhostUserTransport::stop_all() {
    std::vector<std::uint16_t> running;
    const auto count = static_cast<std::uint16_t>(queues_.size());
    for (std::uint16_t i = 0; i < count; ++i) {
        if (queues_[i].running) {
            running.push_back(i);
            stop(i);
        }
    }
    return running;
}

bool VhostUserTransport::any_running() const {
    return std::ranges::any_of(queues_, &Queue::running);
}

void VhostUserTransport::on_kick(std::uint16_t queue) {
    const Result<std::uint64_t> count = drain_lent_eventfd(queues_[queue].kick.ref());
    if (!count) {
        return end(Error(Code::InvalidArgument,
                         "kick descriptor of queue " + std::to_string(queue) + " is no eventfd"));
    }
    if (*count > 0) {
        device_.kick(queue);
    }
}

}  // namespace pepita::virtio
