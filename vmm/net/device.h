#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_net.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/net/control_queue.h"
#include "vmm/net/receive_queue.h"
#include "vmm/net/token_bucket.h"
#include "vmm/net/transmit_queue.h"

namespace pepita::vmm::net {

struct Options {
    std::array<std::uint8_t, 6> mac{};
    std::uint16_t mtu = 0;                  // 0: the driver's own
    std::uint64_t rx_bytes_per_second = 0;  // towards the guest; 0: no limit
    std::uint64_t tx_bytes_per_second = 0;
};

/// virtio-net (virtio 1.2 §5.1) over a tap: checksum and segmentation offload both ways, mergeable
/// buffers, a queue pair for each queue of the tap. Nothing is copied but headers.
class NetDevice final : public virtio::Device {
public:
    /// Frames of a queue that are moved before other descriptors of the loop have their turn.
    static constexpr std::size_t kFramesPerTurn = 256;
    static constexpr std::uint16_t kQueueSize = 256;
    static constexpr std::uint16_t kControlQueueSize = 64;

    /// `taps` are the queues of one tap (or others that keep frames apart) with a FrameHeader in
    /// front of each frame, at least one. `loop` outlives the device.
    /// Errors: epoll_ctl(2)'s, fcntl(2)'s.
    static Result<std::unique_ptr<NetDevice>> create(EventLoop& loop, std::vector<Fd> taps,
                                                     const Options& options);
    NetDevice(const NetDevice&) = delete;
    NetDevice& operator=(const NetDevice&) = delete;
    NetDevice(NetDevice&&) = delete;
    NetDevice& operator=(NetDevice&&) = delete;
    ~NetDevice() override;

    virtio::DeviceType type() const override { return virtio::DeviceType::Net; }
    std::uint64_t features() const override;
    std::span<const std::uint16_t> queue_sizes() const override { return queue_sizes_; }
    std::span<const std::byte> config() const override;
    void start(const virtio::Session& session) override;
    Result<std::size_t> start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) override;
    std::uint16_t stop_queue(std::uint16_t queue) override;
    void kick(std::uint16_t queue) override;
    void reset() override;

    /// What the driver sees of the cable.
    void set_link(bool is_up);

private:
    struct Tap {
        Fd fd;
        EventLoop::Watch watch;  // goes before what it watches; none once the tap is gone
        std::uint32_t events = 0;
    };
    struct Pair {
        std::optional<ReceiveQueue> receive;
        std::optional<TransmitQueue> transmit;
        bool was_receive_broken = false;
        bool was_transmit_broken = false;
    };

    NetDevice(EventLoop& loop, std::vector<Fd> taps, const Options& options);
    Result<void> watch_taps();
    std::uint16_t control_index() const { return static_cast<std::uint16_t>(2 * pairs_.size()); }
    /// How many pairs the driver uses.
    std::size_t active_pairs() const;
    bool set_pairs(std::uint16_t pairs);
    bool set_offloads(std::uint64_t features);
    void apply_offloads(std::uint64_t features) const;
    void on_tap(std::size_t tap, std::uint32_t events);
    void receive(std::size_t tap);
    void receive_all();
    void wait_for(Tap& tap, std::uint32_t events);
    void lose(Tap& tap);
    void transmit(std::size_t pair);
    void transmit_all();
    void serve_control();
    void notify(std::uint16_t queue, virtio::Ring& ring, bool& was_broken);

    EventLoop& loop_;
    std::vector<Tap> taps_;
    std::vector<Pair> pairs_;
    std::optional<ControlQueue> control_;
    bool was_control_broken_ = false;
    std::vector<std::uint16_t> queue_sizes_;
    abi::VirtioNetConfig config_{};
    virtio::Notifier* notifier_ = nullptr;  // the session's
    std::uint64_t features_ = 0;            // the session's
    std::uint16_t commanded_pairs_ = 1;
    TokenBucket rx_bucket_;
    TokenBucket tx_bucket_;
    EventLoop::Timer rx_turn_;
    EventLoop::Timer tx_turn_;
    EventLoop::Timer control_turn_;
};

}  // namespace pepita::vmm::net
