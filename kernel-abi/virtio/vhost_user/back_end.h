#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"
#include "kernel-abi/virtio/vhost_user/inflight.h"
#include "kernel-abi/virtio/vhost_user/memory.h"
#include "kernel-abi/virtio/vhost_user/message.h"

namespace pepita::virtio {

struct VhostUserOptions {
    /// Offers the front end to keep what is in flight for the next back end, should this one be
    /// killed. It takes memfd_create(2), ftruncate(2) and F_ADD_SEALS, which a jail may not have.
    bool tracks_in_flight = false;
};

/// One device served to a vhost-user front end (QEMU), over one connection.
///
/// The front end owns the guest; we map what it lends. A message that is wrong in any way ends the
/// connection, since it is a program that speaks here and not the guest.
///
/// Who runs this ignores SIGPIPE: a front end may hand us a pipe where an eventfd is due.
/// Thread: the loop's.
class VhostUserTransport {
public:
    /// Why it ended: Unavailable where the front end just closed the connection.
    using OnGone = std::move_only_function<void(const Error& why)>;

    /// `socket` is connected and non-blocking; `loop` and `device` outlive this. `on_gone` is
    /// called once, when the device is reset and the guest's memory unmapped; it may destroy this.
    static Result<std::unique_ptr<VhostUserTransport>> create(EventLoop& loop, Fd socket,
                                                              Device& device, OnGone on_gone,
                                                              VhostUserOptions options = {});
    VhostUserTransport(const VhostUserTransport&) = delete;
    VhostUserTransport& operator=(const VhostUserTransport&) = delete;
    VhostUserTransport(VhostUserTransport&&) = delete;
    VhostUserTransport& operator=(VhostUserTransport&&) = delete;
    ~VhostUserTransport();

private:
    /// What the front end said about a queue, and what we made of it.
    struct Queue {
        std::uint16_t size = 0;
        std::uint16_t next = 0;  // the available index to begin at
        std::optional<abi::VhostUserVringAddr> address;
        bool enabled = false;
        bool running = false;
        EventLoop::Watch kick_watch;  // goes before what it watches
        Fd kick;
        Fd call;
        Fd error;
    };

    class Calls final : public Notifier {
    public:
        Calls(std::vector<Queue>& queues, const Fd& backend_channel)
            : queues_(queues), backend_channel_(backend_channel) {}
        void queue_used(std::uint16_t queue) override;
        /// Says so on the front end's channel for that; a front end without one is not told.
        void config_changed() override;
        void queue_broken(std::uint16_t queue) override;

    private:
        std::vector<Queue>& queues_;
        const Fd& backend_channel_;
    };

    VhostUserTransport(EventLoop& loop, Fd socket, Device& device, OnGone on_gone,
                       VhostUserOptions options);

    void on_message();
    void on_kick(std::uint16_t queue);
    void end(const Error& why);

    Result<void> dispatch(VhostUserMessage& message);
    Result<void> dispatch_device(VhostUserMessage& message);
    Result<void> dispatch_vring(VhostUserMessage& message);
    Result<void> reply(abi::VhostUserRequest request, std::span<const std::byte> payload,
                       std::span<const FdRef> fds = {});
    Result<void> reply_u64(abi::VhostUserRequest request, std::uint64_t value);

    Result<void> set_features(const VhostUserMessage& message);
    Result<void> set_protocol_features(const VhostUserMessage& message);
    Result<void> set_memory(const VhostUserMessage& message);
    Result<void> get_config(const VhostUserMessage& message);
    Result<void> set_config(const VhostUserMessage& message);
    Result<void> set_backend_channel(VhostUserMessage& message);
    Result<void> get_inflight(const VhostUserMessage& message);
    Result<void> set_inflight(const VhostUserMessage& message);

    Result<void> set_vring_num(const VhostUserMessage& message);
    Result<void> set_vring_base(const VhostUserMessage& message);
    Result<void> get_vring_base(const VhostUserMessage& message);
    Result<void> set_vring_addr(const VhostUserMessage& message);
    Result<void> set_vring_enable(const VhostUserMessage& message);
    Result<void> set_vring_fd(VhostUserMessage& message);

    /// The queue that a message means; every index passes here.
    Result<std::uint16_t> queue_index(std::uint64_t index) const;
    Result<Queue*> idle_queue(std::uint64_t index);
    /// Starts the queue once all that it takes is there.
    Result<void> start_if_ready(std::uint16_t index);
    void stop(std::uint16_t index);
    /// Gives the indices of those that were running.
    std::vector<std::uint16_t> stop_all();
    void begin_session(const VhostUserMemory& memory);
    void end_session();
    bool any_running() const;

    std::uint64_t offered() const;
    std::uint64_t offered_protocol() const;

    EventLoop& loop_;
    Fd socket_;
    Device& device_;
    OnGone on_gone_;
    VhostUserOptions options_;
    EventLoop::Watch watch_;
    VhostUserReader reader_;

    Fd lost_;  // signalled where memory is taken away; goes after what is mapped
    EventLoop::Watch lost_watch_;
    std::uint64_t features_ = 0;  // acked
    std::uint64_t protocol_features_ = 0;
    std::optional<VhostUserMemory> memory_;    // stays in place once it is there: rings refer to it
    std::optional<InflightRegions> inflight_;  // rings refer to it
    std::vector<Queue> queues_;
    Fd backend_channel_;
    EventLoop::Timer news_;
    Calls calls_{queues_, backend_channel_};
    bool in_session_ = false;
};

}  // namespace pepita::virtio
