#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"
#include "storage/block_device.h"
#include "storage/request_queue.h"
#include "storage/tag_set.h"
#include "storage/virtio_block/config.h"
#include "storage/virtio_block/request.h"

namespace pepita::storage {

/// virtio-blk over any storage::BlockDevice (virtio 1.2 §5.2): read, write, flush, discard, write
/// zeroes, serial number; one queue or several, all served on one thread.
///
/// Guest memory is handed to the storage as it lies; nothing is copied. So until a request came
/// back the guest's RAM must stay, and stop_queue(), reset() and the destructor wait for that. A
/// VirtioBlock with a started queue must go, or be reset, before that RAM does.
class VirtioBlock final : public virtio::Device {
public:
    /// So many requests, or so many bytes, are begun before the loop's other work has its turn: a
    /// guest that keeps asking must not keep the thread to itself.
    static constexpr std::size_t kChainsPerTurn = 256;
    static constexpr Bytes kBytesPerTurn = 16_MiB;

    /// `serial` is what the guest sees as the disk's serial number. The storage is ours from here,
    /// its listener too. `loop` outlives it.
    /// Errors: InvalidArgument where `serial` is longer than 20 bytes or not printable ASCII, or
    /// there are to be no queues or more than virtio_block::kQueuesMax.
    static Result<std::unique_ptr<VirtioBlock>> create(
        EventLoop& loop, std::unique_ptr<storage::BlockDevice> storage, std::string_view serial,
        std::uint16_t queues = 1);
    VirtioBlock(const VirtioBlock&) = delete;
    VirtioBlock& operator=(const VirtioBlock&) = delete;
    VirtioBlock(VirtioBlock&&) = delete;
    VirtioBlock& operator=(VirtioBlock&&) = delete;
    ~VirtioBlock() override;

    virtio::DeviceType type() const override { return virtio::DeviceType::Block; }
    std::uint64_t features() const override;
    std::span<const std::uint16_t> queue_sizes() const override { return queue_sizes_; }
    std::span<const std::byte> config() const override;
    void start(const virtio::Session& session) override;
    Result<std::size_t> start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) override;
    std::uint16_t stop_queue(std::uint16_t queue) override;
    void kick(std::uint16_t queue) override;
    void reset() override;

    /// Reads the storage's size again, and notifies the driver if it has changed. Errors:
    /// BlockDevice::refresh()'s.
    Result<void> resized();

private:
    enum class Phase : std::uint8_t {
        Serving,
        Stopping,   // no new requests
        Resetting,  // nor a word to the driver
    };

    /// Of the writable part without its status byte.
    struct Answered {
        std::uint32_t written;
        std::uint32_t room;
    };

    /// A request that the storage works on. It keeps its place, found by its tag, until the
    /// storage gives it back.
    struct Pending {
        std::uint16_t queue;
        virtio::Chain chain;
        Answered data;  // if all goes well
    };

    /// All that belongs to a started queue, and goes with it.
    struct Queue {
        explicit Queue(virtio::Ring its_ring) : ring(std::move(its_ring)) {}

        virtio::Ring ring;
        bool has_chains = true;  // some may wait: it was kicked, or the storage had no room
        bool was_broken = false;
    };

    VirtioBlock(EventLoop& loop, std::unique_ptr<storage::BlockDevice> storage,
                std::string_view serial, std::uint16_t queues, storage::TagSet tags);
    std::uint16_t give_up_queue(std::uint16_t index, Phase phase);
    void serve();
    void take_chains(std::uint16_t index);
    void begin(std::uint16_t index, virtio::Chain chain);
    void start_request(std::uint16_t index, virtio::Chain chain,
                       const virtio_block::Request& request);
    void on_complete(std::span<const storage::IoCompletion> completions);
    void finish(const storage::IoCompletion& completion);
    static void answer(Queue& queue, virtio::Chain chain, abi::VirtioBlkStatus status,
                       Answered data);
    void notify();
    void on_late(const storage::RequestQueue::Late& late) const;
    bool has_room() { return !tags_.queue(0).is_full(); }
    bool is_turn_over() const { return chains_left_ == 0 || bytes_left_ == 0; }
    void count(const virtio_block::Request& request);

    EventLoop& loop_;
    storage::TagSet tags_;                         // one queue: the virtqueues share the device
    std::vector<std::optional<Pending>> pending_;  // by tag
    std::vector<storage::BlockDevice::Segment> segments_;  // of the request that is started
    abi::VirtioBlkConfig config_;
    std::array<std::byte, abi::kVirtioBlkIdBytes> serial_{};
    virtio::Notifier* notifier_ = nullptr;  // the session's; null outside of one
    bool can_flush_ = false;                // the session's driver
    Phase phase_ = Phase::Serving;
    bool is_serving_ = false;
    std::size_t first_queue_ = 0;  // whose chains are taken first
    std::size_t chains_left_ = 0;  // of this turn
    std::uint64_t bytes_left_ = 0;
    EventLoop::Timer next_turn_;
    std::vector<std::uint16_t> queue_sizes_;
    std::vector<std::unique_ptr<Queue>> queues_;  // null while stopped
    storage::RequestQueue requests_;
};

}  // namespace pepita::storage
