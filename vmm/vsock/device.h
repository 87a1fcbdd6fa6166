#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/vsock/muxer.h"

namespace pepita::vmm::vsock {

/// virtio-vsock (virtio 1.2 §5.10): stream sockets between the guest and unix sockets of the host.
class VsockDevice final : public virtio::Device {
public:
    /// `listener` is a non-blocking listening unix socket; `loop` outlives the device.
    /// Errors: InvalidArgument for a CID that no guest may have.
    static Result<std::unique_ptr<VsockDevice>> create(EventLoop& loop, Fd listener,
                                                       Options options);

    virtio::DeviceType type() const override { return virtio::DeviceType::Vsock; }
    /// None: without VIRTIO_VSOCK_F_STREAM a driver takes streams for all there is.
    std::uint64_t features() const override { return 0; }
    std::span<const std::uint16_t> queue_sizes() const override;
    std::span<const std::byte> config() const override;

    void start(const virtio::Session& session) override;
    Result<std::size_t> start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) override;
    std::uint16_t stop_queue(std::uint16_t queue) override;
    void kick(std::uint16_t queue) override;
    void reset() override;

    const Muxer& muxer() const { return *muxer_; }

private:
    static constexpr std::size_t kQueues = 3;

    explicit VsockDevice(EventLoop& loop, std::uint64_t guest_cid)
        : loop_(loop), config_{.guest_cid = guest_cid} {}

    void serve();
    /// True where there is more than one turn may do.
    bool take_transmitted();
    bool fill_receive();
    void notify(std::uint16_t queue);

    EventLoop& loop_;
    abi::VsockConfigSpace config_;
    std::unique_ptr<Muxer> muxer_;
    virtio::Notifier* notifier_ = nullptr;  // the session's
    std::array<std::optional<virtio::Ring>, kQueues> rings_;
    std::array<bool, kQueues> told_broken_{};
    EventLoop::Timer next_turn_;
};

}  // namespace pepita::vmm::vsock
