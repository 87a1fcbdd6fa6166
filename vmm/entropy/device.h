#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"

namespace pepita::vmm {

/// virtio-rng (virtio 1.2 §5.4): the host's getrandom(2), in whatever room the driver gives.
class Entropy final : public virtio::Device {
public:
    /// So much at most for one request, however large its buffer is.
    static constexpr Bytes kRequestMax = 64_KiB;

    /// And so many requests before the loop's other work has its turn.
    static constexpr std::size_t kChainsPerTurn = 16;

    /// `loop` outlives the device.
    explicit Entropy(EventLoop& loop) : loop_(loop) {}
    ~Entropy() override = default;

    virtio::DeviceType type() const override { return virtio::DeviceType::Entropy; }
    std::uint64_t features() const override { return 0; }
    std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
    std::span<const std::byte> config() const override { return {}; }
    void start(const virtio::Session& session) override;
    Result<std::size_t> start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) override;
    std::uint16_t stop_queue(std::uint16_t queue) override;
    void kick(std::uint16_t queue) override;
    void reset() override;

private:
    static constexpr std::array<std::uint16_t, 1> kQueueSizes{64};

    struct Queue {
        virtio::Ring ring;
        bool was_broken = false;
    };

    static bool fill_chains(virtio::Ring& ring);
    void serve();

    EventLoop& loop_;
    EventLoop::Timer next_turn_;
    virtio::Notifier* notifier_ = nullptr;  // the session's; null outside of one
    std::unique_ptr<Queue> queue_;          // null while stopped
};

}  // namespace pepita::vmm
