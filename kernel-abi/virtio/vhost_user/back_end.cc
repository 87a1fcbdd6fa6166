#include "kernel-abi/virtio/vhost_user/back_end.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/vhost_user/memory.h"
#include "kernel-abi/virtio/vhost_user/message.h"

namespace pepita::virtio {
namespace {

using enum abi::VhostUserRequest;

/// Messages that are answered before other descriptors of the loop have their turn.
constexpr int kMessagesPerEvent = 32;

/// Bits that would change how a ring is read. Others that we did not offer mean nothing to us, and
/// QEMU's vhost-user-rng passes on whatever the guest agreed with QEMU itself.
constexpr std::uint64_t kUnreadableFeatures =
    abi::kVirtioFAccessPlatform | abi::kVirtioFRingPacked | abi::kVirtioFNotificationData;

void signal(const Fd& eventfd) {
    if (eventfd) {
        signal_lent_eventfd(eventfd.ref());
    }
}

Error not_now(std::string why) { return {Code::FailedPrecondition, std::move(why)}; }

bool is_about_a_queue(abi::VhostUserRequest request) {
    return request == SetVringNum || request == SetVringAddr || request == SetVringBase ||
           request == GetVringBase || request == SetVringKick || request == SetVringCall ||
           request == SetVringErr || request == SetVringEnable;
}

bool has_own_reply(abi::VhostUserRequest request) {
    return request == GetFeatures || request == GetProtocolFeatures || request == GetQueueNum ||
           request == GetVringBase || request == GetConfig || request == GetInflightFd;
}

}  // namespace

void VhostUserTransport::Calls::queue_used(std::uint16_t queue) { signal(queues_.at(queue).call); }

void VhostUserTransport::Calls::queue_broken(std::uint16_t queue) {
    signal(queues_.at(queue).error);
}

void VhostUserTransport::Calls::config_changed() {
    if (backend_channel_) {
        // Where the socket is full, a message that says the same is still waiting to be read; where
        // nobody reads any more, the connection's end tells.
        (void)send_backend_request(backend_channel_.ref(),
                                   abi::VhostUserBackendRequest::ConfigChange)
            .has_value();
    }
}

VhostUserTransport::VhostUserTransport(EventLoop& loop, Fd socket, Device& device, OnGone on_gone,
                                       VhostUserOptions options)
    : loop_(loop),
      socket_(std::move(socket)),
      device_(device),
      on_gone_(std::move(on_gone)),
      options_(options),
      queues_(device.queue_sizes().size()) {}

Result<std::unique_ptr<VhostUserTransport>> VhostUserTransport::create(EventLoop& loop, Fd socket,
                                                                       Device& device,
                                                                       OnGone on_gone,
                                                                       VhostUserOptions options) {
    std::unique_ptr<VhostUserTransport> transport(
        new VhostUserTransport(loop, std::move(socket), device, std::move(on_gone), options));
    transport->watch_ =
        TRY(loop.watch(transport->socket_.ref(), EPOLLIN,
                       [self = transport.get()](std::uint32_t) { self->on_message(); }),
            "vhost-user socket");
    transport->lost_ = TRY(create_eventfd());
    transport->lost_watch_ =
        TRY(loop.watch(transport->lost_.ref(), EPOLLIN, [self = transport.get()](std::uint32_t) {
            self->end({Code::DataLoss, "the front end took memory away that it had lent"});
        }));
    return transport;
}

VhostUserTransport::~VhostUserTransport() { end_session(); }

std::uint64_t VhostUserTransport::offered() const {
    return device_.features() | abi::kVirtioFVersion1 | abi::kVirtioFEventIdx |
           abi::kVirtioFIndirectDesc | abi::kVhostUserFProtocolFeatures;
}

std::uint64_t VhostUserTransport::offered_protocol() const {
    // QEMU warns about a configuration that its front end has no use for.
    return abi::kVhostUserProtocolMq | abi::kVhostUserProtocolReplyAck |
           (device_.config().empty()
                ? 0
                : abi::kVhostUserProtocolConfig | abi::kVhostUserProtocolBackendReq) |
           (options_.tracks_in_flight ? abi::kVhostUserProtocolInflightShmfd : 0);
}

void VhostUserTransport::on_message() {
    for (int i = 0; i < kMessagesPerEvent; ++i) {
        Result<std::optional<VhostUserMessage>> message = reader_.next(socket_.ref());
        if (!message) {
            return end(message.error());
        }
        std::optional<VhostUserMessage>& whole = *message;
        if (!whole) {
            return;
        }
        VhostUserMessage& got = *whole;
        Result<void> handled = dispatch(got);
        const bool wants_ack = got.needs_reply() && !has_own_reply(got.request) &&
                               (protocol_features_ & abi::kVhostUserProtocolReplyAck) != 0;
        if (wants_ack) {
            Result<void> sent = reply_u64(got.request, handled ? 0 : 1);
            if (handled) {
                handled = std::move(sent);
            }
        }
        if (!handled) {
            return end(std::move(handled).error().within(name_of(got.request)));
        }
    }
}

void VhostUserTransport::end(const Error& why) {
    end_session();
    memory_.reset();
    inflight_.reset();
    backend_channel_ = Fd();
    queues_.clear();
    watch_.cancel();
    lost_watch_.cancel();
    socket_ = Fd();
    OnGone on_gone = std::move(on_gone_);
    on_gone(why);  // may destroy us
}

Result<void> VhostUserTransport::dispatch(VhostUserMessage& message) {
    const bool takes_fds = message.request == SetMemTable || message.request == SetVringKick ||
                           message.request == SetVringCall || message.request == SetVringErr ||
                           message.request == SetBackendReqFd || message.request == SetInflightFd;
    if (!takes_fds && !message.fds.empty()) {
        return Error(Code::InvalidArgument, "descriptors came with it");
    }
    return is_about_a_queue(message.request) ? dispatch_vring(message) : dispatch_device(message);
}

Result<void> VhostUserTransport::dispatch_device(VhostUserMessage& message) {
    if (message.request == GetFeatures) {
        return reply_u64(GetFeatures, offered());
    }
    if (message.request == SetFeatures) {
        return set_features(message);
    }
    if (message.request == GetProtocolFeatures) {
        return reply_u64(GetProtocolFeatures, offered_protocol());
    }
    if (message.request == SetProtocolFeatures) {
        return set_protocol_features(message);
    }
    if (message.request == GetQueueNum) {
        return reply_u64(GetQueueNum, queues_.size());
    }
    if (message.request == SetOwner) {
        return {};
    }
    if (message.request == ResetOwner) {
        (void)stop_all();
        end_session();
        return {};
    }
    if (message.request == SetMemTable) {
        return set_memory(message);
    }
    if (message.request == GetConfig) {
        return get_config(message);
    }
    if (message.request == SetConfig) {
        return set_config(message);
    }
    if (message.request == SetBackendReqFd) {
        return set_backend_channel(message);
    }
    if (message.request == GetInflightFd) {
        return get_inflight(message);
    }
    if (message.request == SetInflightFd) {
        return set_inflight(message);
    }
    return Error(Code::Unsupported, "it was not offered");
}

Result<void> VhostUserTransport::reply(abi::VhostUserRequest request,
                                       std::span<const std::byte> payload,
                                       std::span<const FdRef> fds) {
    return send_reply(socket_.ref(), request, payload, fds);
}

Result<void> VhostUserTransport::reply_u64(abi::VhostUserRequest request, std::uint64_t value) {
    return reply(request, std::as_bytes(std::span(&value, 1)));
}

Result<void> VhostUserTransport::set_features(const VhostUserMessage& message) {
    const auto wanted = TRY(message.as<std::uint64_t>());
    if ((wanted & kUnreadableFeatures) != 0) {
        return Error(Code::InvalidArgument,
                     "features " + std::to_string(wanted) + " hold what was not offered");
    }
    const std::uint64_t acked = wanted & offered();
    if (any_running()) {
        return acked == features_ ? Result<void>() : not_now("features change while a queue runs");
    }
    // QEMU sends this whenever a driver starts anew, and all that the last one knew is gone.
    end_session();
    features_ = acked;
    return {};
}

Result<void> VhostUserTransport::set_protocol_features(const VhostUserMessage& message) {
    const auto wanted = TRY(message.as<std::uint64_t>());
    if ((wanted & ~offered_protocol()) != 0) {
        return Error(Code::InvalidArgument,
                     "protocol features " + std::to_string(wanted) + " were not all offered");
    }
    protocol_features_ = wanted;
    return {};
}

Result<void> VhostUserTransport::set_memory(const VhostUserMessage& message) {
    const auto header = TRY(message.head_as<abi::VhostUserMemoryHeader>());
    if (header.count == 0) {
        return Error(Code::InvalidArgument, "no memory is shared with us (QEMU: share=on)");
    }
    if (header.count > abi::kVhostUserRegionsMax || message.fds.size() != header.count ||
        message.payload.size() !=
            sizeof(header) + header.count * sizeof(abi::VhostUserMemoryRegion)) {
        return Error(Code::InvalidArgument, std::to_string(header.count) + " regions do not fit " +
                                                std::to_string(message.payload.size()) + " B and " +
                                                std::to_string(message.fds.size()) +
                                                " descriptors");
    }
    std::vector<abi::VhostUserMemoryRegion> regions(header.count);
    std::memcpy(regions.data(), message.payload.data() + sizeof(header),
                regions.size() * sizeof(abi::VhostUserMemoryRegion));
    VhostUserMemory memory = TRY(VhostUserMemory::map(regions, message.fds, lost_.ref()));

    // The guest may be running: its queues go on where they were, in the new mapping.
    const std::vector<std::uint16_t> running = stop_all();
    if (memory_) {
        *memory_ = std::move(memory);
    } else {
        memory_ = std::move(memory);
    }
    for (const std::uint16_t index : running) {
        TRY(start_if_ready(index));
    }
    return {};
}

Result<void> VhostUserTransport::get_config(const VhostUserMessage& message) {
    const auto header = TRY(message.head_as<abi::VhostUserConfigHeader>());
    if (header.size > abi::kVhostUserConfigMax || header.offset > abi::kVhostUserConfigMax ||
        message.payload.size() != sizeof(header) + header.size) {
        return Error(Code::InvalidArgument, "bytes " + std::to_string(header.offset) + " + " +
                                                std::to_string(header.size) +
                                                " are no part of a configuration");
    }
    // What is beyond our end reads as zero: QEMU asks for all that it knows of.
    const std::span<const std::byte> config = device_.config();
    std::vector<std::byte> answer(message.payload.size());
    std::memcpy(answer.data(), &header, sizeof(header));
    if (header.offset < config.size()) {
        const std::size_t size = std::min<std::size_t>(header.size, config.size() - header.offset);
        std::ranges::copy(config.subspan(header.offset, size),
                          std::span(answer).subspan(sizeof(header)).begin());
    }
    return reply(GetConfig, answer);
}

Result<void> VhostUserTransport::set_config(const VhostUserMessage& message) {
    const auto header = TRY(message.head_as<abi::VhostUserConfigHeader>());
    const std::size_t size = device_.config().size();
    if (message.payload.size() != sizeof(header) + header.size || header.offset > size ||
        header.size > size - header.offset) {
        return Error(Code::InvalidArgument, "bytes " + std::to_string(header.offset) + " + " +
                                                std::to_string(header.size) +
                                                " are not in the device's configuration");
    }
    device_.write_config(header.offset, std::span(message.payload).subspan(sizeof(header)));
    return {};
}

}  // namespace pepita::virtio
